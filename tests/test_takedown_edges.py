"""Takedowns in rare places: damaged manifests, documents named twice, copies named late, rows that nothing tells apart."""

from __future__ import annotations

import json

import pytest
from corpora import write_parquet
from takedowns import after, config, kept_ids, key_of, made, take
from tokens_made import ids_operator

from pipelines.errors import InputError
from pipelines.run import run

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b'{"version": "v1"}', None])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_damaged_manifest(shm_path, content, dry_run):
    """An error that names it, before anything is written."""
    made(shm_path)
    if content is None:
        manifest = json.loads((shm_path / "out" / "manifest.json").read_bytes())
        content = json.dumps({**manifest, "config": {**manifest["config"], "input": 1}}).encode()
    (shm_path / "out" / "manifest.json").write_bytes(content)
    files = sorted((shm_path / "out").rglob("*"))
    for names in (["a6"], None):
        with pytest.raises(InputError, match=r"manifest.json: it is no whole manifest: .*restore it"):
            take(shm_path, names, dry_run=dry_run)
    assert sorted((shm_path / "out").rglob("*")) == files


def test_a_document_may_be_named_twice(shm_path):
    """By its id and its doc_key, in any case of the digits: no name of it is told to name nothing."""
    before = made(shm_path)
    lost = next(row for row in before.table("dropped") if row["id"] not in kept_ids(before))
    keys = [key_of(shm_path, 0, 6).hex(), lost["doc_key"].hex()]
    names = ["a6", lost["id"], *keys, *(key.upper() for key in keys), "f" * 32]
    done = take(shm_path, names, dry_run=True)
    assert (len(done.matches.found), done.matches.unmatched) == (1, ["f" * 32])


def test_a_near_copy_of_one_that_stays_does_not_come_back(shm_path):
    """Named after it was removed, it is known by its text, which is another; an exact copy is known by its place alone, or both went."""
    text = " ".join(f"word{number}" for number in range(80))
    rows = [
        {"id": name, "text": text + end, "lang": "en"} for name, end in (("kept", ""), ("same", ""), ("near", " more"), ("near-2", " and"))
    ]
    write_parquet(shm_path / "in" / "f.parquet", rows)
    made(shm_path, operators := [{"type": "minhash_dedup"}])
    done = take(shm_path, ["near", "near-2", "same"])
    assert len(done.instead.keys) == 3
    write_parquet(shm_path / "in" / "f.parquet", [*rows[2:], {"id": "new", "text": "a text that is new here", "lang": "en"}, rows[0]])
    run(config(shm_path, operators))
    assert kept_ids(after(shm_path)) == ["new", "kept"]


@pytest.mark.parametrize("folders", [("x", "y"), ("x", "x")])
def test_tokens_of_folders_where_rows_cannot_be_told_apart(shm_path, folders):
    """Two documents with one id in other partitions: whose tokens went is not told by folder, unless they are of the same one."""
    rows = [{"id": name, "text": f"text {name} " * many, "lang": lang} for name, many, lang in (("a", 40, "en"), ("b", 9, "de"))]
    write_parquet(shm_path / "in" / folders[0] / "f0.parquet", [*rows, {"id": "twice", "text": "long " * 90, "lang": "en"}])
    write_parquet(shm_path / "in" / folders[1] / "f1.parquet", [*rows, {"id": "twice", "text": "a short one", "lang": "de"}])
    before = made(shm_path, [ids_operator(shm_path)], output={"partition_by": ["lang"]})
    assert len(before.manifest["tokens"]["by_source"]) == len(set(folders))
    take(shm_path, ["twice"])
    now = after(shm_path)
    told = now.manifest["tokens"]["by_source"]
    assert list(told) == ["(other)"] if len(set(folders)) == 2 else list(before.manifest["tokens"]["by_source"])
    assert (
        sum(entry["tokens"] for entry in told.values()) == now.manifest["tokens"]["total"] == sum(row["num_tokens"] for row in now.rows())
    )
