"""`shardmill takedown`: what it prints and refuses, on S3 too; and that `verify` finds what a takedown's version must not be."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import output_of, write_parquet
from made import rewrite_manifest
from takedowns import SECRET, after, config, holding, made, take, write_corpus

from pipelines.cli import main
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.takedown import takedown
from pipelines.takedown_ids import wanted_of
from pipelines.verify import verify
from pipelines.version import replace_any

pytestmark = pytest.mark.usefixtures("no_fsync")


def shell(capsys, *words, status=0):
    found = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert found == status, (out, err)
    assert "Traceback" not in out + err
    return out, err


def ids(folder, *names):
    file = folder / "ids.txt"
    file.write_text("".join(f"{name}\n" for name in names))
    return file


# --- the command


def test_what_is_told(capsys, shm_path):
    """What was found, what was not, and who still holds the documents, for a person and as one object."""
    made(shm_path)
    file = ids(shm_path, "a6", "a10", "nobody")
    out, _ = shell(capsys, "takedown", shm_path / "out", "--ids", file, "--dry-run")
    assert "v1 holds 3 documents for 3 ids" in out
    assert "nothing was written" in out
    told = json.loads(shell(capsys, "takedown", shm_path / "out", "--ids", file, "--reason", "they asked", "--json")[0])
    assert (told["version"], told["documents"], told["unmatched"], told["num_unmatched"]) == ("v2", 3, ["nobody"], 1)
    assert [(entry["id"], entry["documents"], len(entry["doc_keys"])) for entry in told["matches"]] == [("a10", 2, 2), ("a6", 1, 1)]
    assert told["versions_that_hold_documents"] == ["v1"]
    out, _ = shell(capsys, "takedown", shm_path / "out", "--ids", file)
    assert "there is nothing to do" in out
    assert "'a10' is out of the data already (takedown: taken_down)" in out
    assert "v1 still holds documents" in out
    assert "published" in out
    out, _ = shell(capsys, "takedown", shm_path / "out", "--purge")
    assert "Purged all of v1 but the manifests" in out
    told = json.loads(shell(capsys, "takedown", shm_path / "out", "--purge", "--json")[0])
    assert (told["version"], told["purged"]["versions"], told["versions_that_hold_documents"]) == ("v2", ["v1"], [])
    shell(capsys, "verify", shm_path / "out", "--version", "v1", status=4)


def test_many_lines_are_bounded(capsys, shm_path):
    """On a terminal the first twenty of each kind, and how many more."""
    made(shm_path)
    out, _ = shell(capsys, "takedown", shm_path / "out", "--dry-run", "--ids", ids(shm_path, "a6", *(f"nobody{n}" for n in range(50))))
    assert out.count("has no document here") == 20
    assert "and 30 more" in out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "which documents?"),
        (("--purge", "--reason", "x"), 2, "--reason is of documents"),
        (("--ids", "FILE", "--reason", " "), 2, "expected 1 to 500"),
        (("--ids", "FILE", "--reason", "x" * 501), 2, "has 501 characters"),
        (("--ids", "FILE"), 1, "none of 1 ids names a document"),
        (("--purge",), 1, "nothing was ever taken out"),
    ],
)
def test_refusals(capsys, shm_path, words, status, message):
    """One message, and nothing is changed."""
    made(shm_path)
    file = ids(shm_path, "nobody")
    _, err = shell(capsys, "takedown", shm_path / "out", *(file if word == "FILE" else word for word in words), status=status)
    assert message in err
    assert output_of(shm_path / "out").manifest["version"] == "v1"


def test_a_hostile_reason_is_shown_as_it_is(shm_path):
    """The card and the report escape it."""
    made(shm_path)
    take(shm_path, ["a6"], reason="</script><b>| `x`\n---\nconfigs: []")
    after(shm_path)
    assert "</script><b>" not in (shm_path / "out" / "versions" / "v2" / "report.html").read_text().replace("<\\/script>", "")


def test_ids_that_a_terminal_would_obey(capsys, shm_path):
    """They are written as codes, in errors as in what is told."""
    write_parquet(shm_path / "in" / "f.parquet", [{"id": "\x1b[31mred", "text": "a text of some length", "lang": "en"} for _ in range(2)])
    made(shm_path)
    file = ids(shm_path, "\x1b[31mnobody")
    _, err = shell(capsys, "takedown", shm_path / "out", "--ids", file, status=1)
    (shm_path / "ids.jsonl").write_text('"\\u001b[31mred"\n"\\u001b[31mnobody"\n')
    said, _ = shell(capsys, "takedown", shm_path / "out", "--ids", shm_path / "ids.jsonl")
    assert "\x1b" not in err + said
    assert "\\x1b[31mnobody" in err
    assert "'\\x1b[31mred' is out of the data already" in said


# --- S3


def test_on_s3(tmp_path, s3_server):
    """Documents go, the version verifies, a run has nothing to do, and a purge leaves no trace."""
    write_corpus(tmp_path / "in", files=1, number=40)
    target = f"s3://{s3_server.make_bucket()}/out"
    made_of = config(tmp_path, output={"storage_options": s3_server.options})
    made_of = made_of.model_copy(update={"output": made_of.output.model_copy(update={"uri": target})})
    run(made_of)
    done = takedown(target, wanted_of(["a6", "a10"]), purge_versions=True, storage_options=s3_server.options)
    assert (done.version, len(done.matches.found), done.purged.versions) == ("v2", 3, ("v1",))
    assert verify(target, s3_server.options).ok
    assert holding(open_store(target, s3_server.options), f"{SECRET}-a6 ") == []
    assert run(made_of).was_finished


# --- verify


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda made: made.pop("takedown"), "takedown is missing"),
        (lambda made: made["operators"][-1]["settings"].update(documents=2), "settings.documents is 2, but ledger.dropped says"),
        (lambda made: made["operators"][-1].update(type="length_filter"), "the last operator is no takedown"),
        (lambda made: made.update(parents=["0" * 64]), "parents is not the digest of versions/v1/manifest.json"),
        (lambda made: made["takedown"].update(covers=["v2"]), "takedown.covers is"),
        (lambda made: made["fingerprints"].update(code="x"), "fingerprints is not that of v1"),
        (lambda made: made["operators"][0].update(seconds=99), "operators: those before takedown are not those of v1"),
        (lambda made: made["takedown"].pop("of"), "takedown.of is missing"),
    ],
)
def test_a_wrong_manifest_is_found(shm_path, edit, message):
    """Whatever it says that the files and the version before contradict."""
    made(shm_path)
    take(shm_path, ["a6"])
    rewrite_manifest(open_store(str(shm_path / "out")), edit, "v2")
    found = [check.message for check in verify(str(shm_path / "out")).checks if not check.ok]
    assert any(message in text for text in found), found


def test_a_text_that_is_still_carried_is_found(shm_path):
    """A row of a document that was taken down, with a column of it."""
    made(shm_path, output={"dropped": True})
    take(shm_path, ["a6"])
    store = open_store(str(shm_path / "out"))
    (last,) = [info.path for info in store.list("versions/v2/dropped")][-1:]
    table = pq.read_table(shm_path / "out" / last)
    assert table["text"].to_pylist() == [None]
    column = table.schema.get_field_index("text")
    field = table.schema.field("text")
    pq.write_table(table.set_column(column, field, pa.array(["secret"], field.type)), shm_path / "out" / last)
    found = verify(str(shm_path / "out"))
    assert any("was taken down, but has its text still" in check.message for check in found.checks if not check.ok)


def test_a_shard_of_the_version_before_that_is_told_otherwise_is_found(shm_path):
    """What a takedown did not write anew is what it was."""
    made(shm_path)
    take(shm_path, ["a6"])
    store = open_store(str(shm_path / "out"))
    path = shm_path / "out" / "versions" / "v1" / "shards.parquet"
    table = pq.read_table(path)
    spoilt = table.set_column(1, "rows", [[rows + 1 for rows in table["rows"].to_pylist()]])
    sink = shm_path / "spoilt.parquet"
    pq.write_table(spoilt, sink)
    replace_any(store, "versions/v1/shards.parquet", sink.read_bytes())
    found = [check.message for check in verify(str(shm_path / "out")).checks if not check.ok]
    assert any("is not told as in versions/v1/shards.parquet" in text for text in found), found
