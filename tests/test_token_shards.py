"""Token shards of whole runs: every document once, in the promised order, whatever is killed; damage of any of them is found and named."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from changing import everything
from corpora import config_of, custom, files_of, finished, records, write_parquet
from operator_samples import small_tokenizer  # noqa: F401  a fixture
from pipelines_made import contents, orphans, same, write_input
from tokens_made import BOTH, READERS, assert_token_shards, documents_of, ids_operator, runs_of, shuffled, table_of, token_file

from pipelines import results, token_formats, token_shards, verify_token_files, verify_token_shards
from pipelines.card import card
from pipelines.config import load
from pipelines.errors import ConfigError, InputError, UnitError, VersionConflict
from pipelines.faults import TOKEN_POINTS
from pipelines.report import report
from pipelines.run import run
from pipelines.storage import open_store
from pipelines.survey import survey
from pipelines.token_formats import beside
from pipelines.token_shards import TABLE
from pipelines.verify import verify
from pipelines.version import replace_any

KILLED = -signal.SIGKILL
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("lang", pa.string())])


def rows(number=90):
    return [
        {
            "id": f"d{row}",
            "text": "short" if row % 11 == 4 else f"document {row} " + "Wörter " * (row % 7),
            "lang": ("en", "de")[row % 3 == 0],
        }
        for row in range(number)
    ]


def config(folder, *, operators=None, token_shards=None, **sections):
    """A pipeline over some documents that gives several shards with their tokens."""
    source = folder / "in" / "a.parquet"
    if not source.exists():
        write_parquet(source, rows(), 20, SCHEMA)
    output = {"target_shard_bytes": "3KiB", "token_shards": token_shards or {"formats": BOTH}, **sections.pop("output", {})}
    execution = {"unit_bytes": "2KiB", "batch_bytes": "1KiB", **sections.pop("execution", {})}
    operators = [ids_operator(folder)] if operators is None else operators
    return config_of(folder / "p.yaml", source, folder / "out", operators, output=output, execution=execution, **sections)


def store_of(folder):
    return open_store(str(folder / "out"))


pytestmark = pytest.mark.usefixtures("no_fsync")


# --- what there is


@pytest.mark.parametrize("wide", [False, True], ids=["uint16", "uint32"])
def test_every_document_is_in_the_token_shard_of_its_shard(tmp_path, wide):
    """Both formats hold each shard's documents in the shuffled order, an empty one among them; the manifest, table and card say so."""
    found = finished(config(tmp_path, operators=[ids_operator(tmp_path, wide=wide)], execution={"seed": 7}))
    shards = assert_token_shards(store_of(tmp_path), BOTH, 7)
    assert len(shards) > 3
    assert any(not ids for lists in shards.values() for ids in lists)
    table, width = table_of(store_of(tmp_path)), 4 if wide else 2
    tokens = sum(len(ids) for lists in shards.values() for ids in lists)
    assert found.manifest["output"]["token_shards"] == {
        "formats": ["datatrove", "megatron"],
        "seed": 7,
        "shards": len(shards),
        "documents": 90,
        "tokens": tokens,
        "files": 5 * len(shards),
        "bytes": sum(row["bytes"] for row in table),
    }
    assert found.manifest["tables"]["token_shards"]["rows"] == len(table) == 5 * len(shards)
    assert [row["bytes"] for row in table if row["path"].endswith((".bin", ".ds"))] == [
        width * row["tokens"] for row in table if row["path"].endswith((".bin", ".ds"))
    ]
    assert "`tokens/v1/megatron`" in card(found.manifest)
    assert "tokens/v1/megatron" in report(found.manifest)


def test_not_shuffled_documents_stand_as_in_the_shard(tmp_path):
    """`shuffle: false`: the order of the Parquet shard, whatever the seed; and only the format that was asked for."""
    found = finished(config(tmp_path, token_shards={"formats": ["megatron"], "shuffle": False}, execution={"seed": 3}))
    assert_token_shards(store_of(tmp_path), ["megatron"], None)
    assert found.manifest["output"]["token_shards"]["seed"] is None


def test_without_the_setting_nothing_of_it_is_there(tmp_path):
    """Neither files nor keys of the manifest nor checks."""
    source = write_parquet(tmp_path / "in.parquet", rows(), 20, SCHEMA)
    found = finished(config_of(tmp_path / "p.yaml", source, tmp_path / "out"))
    assert "token_shards" not in found.manifest["output"]
    assert "token_shards" not in found.manifest["tables"]
    assert not (tmp_path / "out" / "tokens").exists()
    assert not [check for check in verify(str(tmp_path / "out")).checks if check.name.startswith("token ")]


def test_partitions_and_folders_of_many_shards_are_kept(tmp_path, monkeypatch):
    """One token shard a Parquet shard, in folders of the same names."""
    monkeypatch.setattr(results, "FOLDER_FILES", 3)
    finished(config(tmp_path, output={"partition_by": ["lang"]}))
    shards = assert_token_shards(store_of(tmp_path), BOTH, 0)
    assert any("/1/lang=en/" in shard for shard in shards)


def test_the_metadata_name_the_tokenizer(tmp_path, small_tokenizer):  # noqa: F811
    """datatrove's metadata have the tokenizer as the pipeline names it; ids are those of `tokenize`."""
    finished(config(tmp_path, operators=[{"type": "tokenize", "tokenizer": str(small_tokenizer)}]))
    store = store_of(tmp_path)
    shards = assert_token_shards(store, BOTH, 0)
    first = store.read(token_file(next(iter(shards)), "datatrove", ".ds.metadata")).decode().split("\n")[0]
    assert first == f"{small_tokenizer}|2"


def test_a_version_without_documents_has_no_token_shards(tmp_path):
    """Its one Parquet shard has the schema; a trainer could open no file without a token."""
    drop = {"type": "length_filter", "min_chars": 10_000}
    found = finished(config(tmp_path, operators=[ids_operator(tmp_path), drop]))
    assert found.manifest["output"]["rows"] == 0
    assert found.manifest["output"]["token_shards"]["files"] == 0
    assert_token_shards(store_of(tmp_path), BOTH, 0)


def test_units_and_batches_do_not_show(tmp_path):
    """However the work is cut, the token shards are the same files."""
    found = []
    for unit, batch in (("2KiB", "1KiB"), ("1MiB", "1MiB")):
        folder = tmp_path / unit
        finished(config(folder, execution={"unit_bytes": unit, "batch_bytes": batch}))
        found.append({path: data for path, data in files_of(folder / "out").items() if path.startswith("tokens/")})
    assert len(found[0]) > 10
    # Two inputs of two names: their plans have names of their own, and nothing else does.
    assert [data for _, data in sorted(found[0].items())] == [data for _, data in sorted(found[1].items())]


# --- what it depends on


def test_another_format_or_seed_packs_anew_and_runs_no_unit(tmp_path):
    """A changed setting of token shards makes a new version out of the units that are done; the old one stays as it was."""
    keep = {"keep_intermediates": "latest"}
    finished(config(tmp_path, execution=keep, token_shards={"formats": ["megatron"]}))
    units = [body["attempt"] for _, body in records(tmp_path / "out") if body["kind"] == "unit"]
    old = {path: data for path, data in files_of(tmp_path / "out").items() if "v1/" in path}
    changed = config(tmp_path, execution={**keep, "seed": 5})
    assert all(stage.committed == stage.units for stage in survey(changed).stages)
    second = finished(changed)
    assert second.manifest["version"] == "v2"
    assert [body["attempt"] for _, body in records(tmp_path / "out") if body["kind"] == "unit"] == units
    assert_token_shards(store_of(tmp_path), BOTH, 5, "v2")
    assert {path: data for path, data in files_of(tmp_path / "out").items() if "v1/" in path} == old
    assert verify(str(tmp_path / "out"), version="v1").ok
    before = everything(tmp_path / "out")
    assert run(changed).was_finished
    assert everything(tmp_path / "out") == before


def test_the_seed_counts_only_where_it_shuffles(tmp_path):
    """A seed that nothing uses makes no new version."""
    finished(config(tmp_path, token_shards={"formats": BOTH, "shuffle": False}))
    assert run(config(tmp_path, token_shards={"formats": BOTH, "shuffle": False}, execution={"seed": 9})).was_finished
    for seed, version in ((9, "v2"), (10, "v3")):
        assert finished(config(tmp_path, execution={"seed": seed})).manifest["version"] == version
        assert_token_shards(store_of(tmp_path), BOTH, seed, version)


# --- refused


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("{token_shards: {formats: [megatron, megatron]}}", "output.token_shards.formats[1]: 'megatron' is there twice"),
        ("{token_shards: {formats: []}}", "output.token_shards.formats: found a list, expected at least 1 entry"),
        ("{token_shards: {}}", "output.token_shards: the key 'formats' is missing"),
        ("{token_shards: {formats: [megatrom]}}", "output.token_shards.formats[0]: found 'megatrom', expected 'datatrove' or 'megatron'"),
        ("{token_shards: {formats: [megatron], shufle: no}}", "output.token_shards: there is no key 'shufle'; did you mean 'shuffle'?"),
        (
            "{columns: [id, text], token_shards: {formats: [megatron]}}",
            "output.token_shards: their column 'input_ids' is not among output.columns (id, text); add it there",
        ),
    ],
)
def test_a_wrong_setting_is_an_error_with_its_line(tmp_path, output, words):
    """What can be seen in the file is told with the file's line."""
    path = tmp_path / "p.yaml"
    path.write_text(
        f"name: p\ninput: {{uri: in.parquet}}\noutput:\n  uri: out\n  {output[1:-1]}\n".replace(", token_shards", "\n  token_shards")
    )
    with pytest.raises(ConfigError) as error:
        load(path)
    assert f"p.yaml:{6 if 'columns' in output else 5}: {words}" in str(error.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return Result(batch)", "column 'input_ids', which the documents have not; they have: id, text, lang; add a `tokenize` operator"),
        (
            "return Result(batch.append_column('input_ids', pa.array([[1]] * batch.num_rows, pa.list_(pa.int64()))))",
            "column 'input_ids' is list<item: int64>, expected lists of uint16, uint32, int32",
        ),
        (
            "return Result(batch.append_column('input_ids', pa.array([1] * batch.num_rows, pa.uint16())))",
            "column 'input_ids' is uint16, expected",
        ),
    ],
)
def test_documents_without_ids_are_refused_before_any_work(tmp_path, body, words):
    """No unit runs and nothing is written."""
    with pytest.raises(InputError, match=r"output\.token_shards") as error:
        run(config(tmp_path, operators=[custom(tmp_path, body)]))
    assert words in str(error.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "locks" not in str(path)]


def test_an_id_that_no_trainer_reads_fails_the_run(tmp_path):
    """It names the shard and the id, and no version comes of it."""
    body = "return Result(batch.append_column('input_ids', pa.array([[5, -1]] * batch.num_rows, pa.list_(pa.int32()))))"
    with pytest.raises(UnitError, match=r"data/v1/part-.*found the token id -1"):
        run(config(tmp_path, operators=[custom(tmp_path, body)]))
    assert not (tmp_path / "out" / "manifest.json").exists()


# --- killed


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input", rows=36, files=2)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """What a run that nothing happens to leaves, and how often it passed each point."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = runs_of(folder, source, str(folder / "out"))
    child = runs.start()
    assert child.wait() == 0, child.answered()
    assert not orphans(runs.store())
    assert_token_shards(runs.store(), BOTH, 11)
    return contents(runs.store()), Counter(child.points())


def assert_as_undisturbed(runs, undisturbed):
    assert not same(contents(runs.store()), undisturbed[0])
    assert not orphans(runs.store())


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("point", TOKEN_POINTS)
def test_killed_while_it_writes_token_shards_and_run_again(point, where, source, undisturbed, shm_path, request):
    """kill -9 between the files of a token shard, and before the record that names them: the same files and bytes come of it."""
    passings = undisturbed[1][point]
    assert passings > 3
    for passing in (2, passings) if where == "local" else (3,):
        folder, options = shm_path / str(passing), None
        target = str(folder / "out")
        if where == "s3":
            server = request.getfixturevalue("s3_server")
            target, options = f"s3://{server.make_bucket()}/clean", {"endpoint_url": server.endpoint}
        runs = runs_of(folder, source, target, options)
        assert runs.start(f"{point}@{passing}=kill").wait() == KILLED
        assert list(runs.store().list("tokens"))
        runs.finish()
        assert_as_undisturbed(runs, undisturbed)
        assert verify(target, options).ok


def test_a_file_of_others_under_the_name_of_a_token_shard_stops_the_run(tmp_path, source):
    """What lies there is not overwritten, and not taken for ours."""
    runs = runs_of(tmp_path, source, str(tmp_path / "out"))
    assert runs.start("tokens.before-file@3=kill").wait() == KILLED
    path = min(info.path for info in runs.store().list("tokens"))
    replace_any(runs.store(), path, b"other bytes")
    with pytest.raises(VersionConflict, match="holds other bytes"):
        run(runs.config())
    assert runs.store().read(path) == b"other bytes"


def test_what_an_abandoned_version_wrote_is_swept(tmp_path, source):
    """Another plan's run gives an unfinished version up: its token shards go, those of finished versions stay."""
    runs = runs_of(tmp_path, source, str(tmp_path / "out"))
    text = runs.pipeline.read_text()
    runs.finish()
    kept = {info.path for info in runs.store().list("tokens")}
    runs.pipeline.write_text(text.replace("seed: 11", "seed: 12"))
    assert runs.start("tokens.after-shard@2=kill").wait() == KILLED
    assert [info.path for info in runs.store().list("tokens/v2")]
    runs.pipeline.write_text(text.replace("seed: 11", "seed: 13"))
    runs.finish()
    found = {info.path for info in runs.store().list("tokens")}
    assert {path.split("/")[1] for path in found} == {"v1", "v3"}
    assert {path for path in found if path.startswith("tokens/v1/")} == kept
    assert not orphans(runs.store())
    assert_token_shards(runs.store(), BOTH, 13, "v3")
    assert verify(str(tmp_path / "out")).ok


# --- damage


@pytest.fixture
def whole(tmp_path):
    """A finished output with token shards, and its first shard."""
    finished(config(tmp_path, execution={"seed": 2}))
    store = store_of(tmp_path)
    return store, table_of(store)[0]["shard"]


def expect(store, *expected):
    """Exactly these checks of token shards fail: (name, subject, words of the message)."""
    found = verify(store.uri)
    failed = [(check.name, check.subject, check.message) for check in found.checks if not check.ok]
    assert [(name, subject) for name, subject, _ in failed] == [(name, subject) for name, subject, _ in expected], failed
    for (_, _, message), (_, _, words) in zip(failed, expected, strict=True):
        assert words in message


def rewrite(store, change):
    """The table of token shards says something else, and the manifest has its new digest and sums."""
    path = "versions/v1/token_shards.parquet"
    told = table_of(store)
    told = change(told) or told
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(told, schema=pq.read_schema(pa.BufferReader(store.read(path)))), sink)
    replace_any(store, path, sink.getvalue().to_pybytes())
    made = orjson.loads(store.read("manifest.json"))
    made["tables"]["token_shards"] = {"rows": len(told), "sha256": sha256(sink.getvalue())}
    made["output"]["token_shards"] |= {"files": len(told), "bytes": sum(row["bytes"] for row in told)}
    for name in ("manifest.json", "versions/v1/manifest.json"):
        replace_any(store, name, orjson.dumps(made))
    replace_any(store, "README.md", card(made).encode())


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def exchanged(store, shard, form, suffix, data):
    """A file is another, and every table says that it is so."""
    path = token_file(shard, form, suffix)
    replace_any(store, path, data)

    def change(told):
        for row in told:
            if row["path"] == path:
                row |= {"bytes": len(data), "sha256": sha256(data)}

    rewrite(store, change)


@pytest.mark.parametrize(("form", "suffix"), [(form, suffix) for form, (_, suffixes) in READERS.items() for suffix in suffixes])
def test_a_changed_cut_or_missing_file_is_found(whole, form, suffix):
    """Each file of a token shard is there with its bytes."""
    store, shard = whole
    path = token_file(shard, form, suffix)
    data = store.read(path)
    replace_any(store, path, data[:-1] + bytes([data[-1] ^ 1]))
    expect(store, ("token shards", path, "its bytes were changed"))
    replace_any(store, path, data[:-1])
    expect(store, ("token shards", path, f"it has {len(data) - 1} bytes, expected {len(data)}"))
    store.delete([path])
    expect(store, ("token shards", path, "it is missing"))


def test_documents_in_another_order_are_found(whole):
    """The tables may agree with the files: what counts is the order that the seed gives."""
    store, shard = whole
    lists = documents_of(store, shard, "megatron")
    data = b"".join(np.array(ids, "<u2").tobytes() for ids in shuffled(lists, 9, 0))
    index = b"".join(beside("megatron", ".idx", np.array([len(ids) for ids in shuffled(lists, 9, 0)]), 2, None))
    exchanged(store, shard, "megatron", ".idx", index)
    exchanged(store, shard, "megatron", ".bin", data)
    expect(store, ("token shards", token_file(shard, "megatron", ".bin"), f"of {shard}, as the order of seed 2 wants"))


@pytest.mark.parametrize(
    ("form", "suffix", "change", "words"),
    [
        ("megatron", ".bin", lambda data: bytes([data[0] ^ 1]) + data[1:], "as the order of seed 2 wants"),
        ("megatron", ".bin", lambda data: data + data[:2], "its documents end at byte"),
        ("megatron", ".idx", lambda data: b"X" + data[1:], "does not begin as one of Megatron's"),
        ("megatron", ".idx", lambda data: data[:17] + b"\x05" + data[18:], "does not begin as one of Megatron's"),
        ("megatron", ".idx", lambda data: data[:-8], "do not fit each other"),
        ("megatron", ".idx", lambda data: data[:-8] + bytes(8), "does not place one sequence a document"),
        ("megatron", ".idx", lambda _: b"", "does not begin as one of Megatron's"),
        ("datatrove", ".ds", lambda data: bytes([data[0] ^ 1]) + data[1:], "as the order of seed 2 wants"),
        ("datatrove", ".ds.index", lambda data: data[8:16] + data[:8] + data[16:], "go backwards"),
        ("datatrove", ".ds.index", lambda data: data[8:], "documents, its shard"),
        ("datatrove", ".ds.index", lambda data: data[:-8], "its documents end at byte"),
        ("datatrove", ".ds.metadata", lambda data: data.replace(b"|2", b"|4"), "where there are"),
        ("datatrove", ".ds.metadata", lambda _: b"gpt2", "expected tokenizer|bytes of a token"),
    ],
)
def test_a_file_that_never_was_right_is_found(whole, form, suffix, change, words):
    """Even where the tables name the wrong bytes' digest: layouts are read, and documents compared with the Parquet shard."""
    store, shard = whole
    exchanged(store, shard, form, suffix, change(store.read(token_file(shard, form, suffix))))
    found = [check for check in verify(store.uri).checks if not check.ok]
    assert [(check.name, check.subject) for check in found] == [("token shards", token_file(shard, form, READERS[form][1][0]))]
    assert words in found[0].message


def test_strays_and_wrong_tables_are_found(whole):
    """A file that no table names, a table that names other files, and documents that are not the shard's."""
    store, shard = whole
    replace_any(store, "tokens/v1/megatron/part-00099-01234567.bin", b"x")
    replace_any(store, "tokens/v7/x.ds", b"x")
    expect(
        store,
        ("token strays", "tokens/v1/megatron/part-00099-01234567.bin", "no version's table of token shards names it (1 bytes)"),
        ("token strays", "tokens/v7/x.ds", "no version's table"),
    )
    store.delete(["tokens/v1/megatron/part-00099-01234567.bin", "tokens/v7/x.ds"])
    table = store.read("versions/v1/token_shards.parquet")
    rewrite(store, lambda told: told[1:])
    first = table_file(shard)
    expect(
        store,
        ("token shards table", "versions/v1/token_shards.parquet", f"does not name {first}, a file of the tokens of {shard}"),
        ("token strays", first, "no version's table"),
    )
    rewrite(store, lambda told: [*told, {**told[0], "path": first, "documents": 1}])
    expect(
        store,
        ("token shards table", "versions/v1/token_shards.parquet", f"{first} is said to hold 1 documents"),
        ("token shards table", "manifest.json", "output.token_shards.documents is 90, but the table of token shards has"),
    )
    store.delete(["versions/v1/token_shards.parquet"])
    expect(store, ("token shards table", "versions/v1/token_shards.parquet", "it is missing"))
    replace_any(store, "versions/v1/token_shards.parquet", table[:50])
    expect(store, ("token shards table", "versions/v1/token_shards.parquet", "it cannot be read as Parquet"))


def test_documents_that_are_not_in_the_order_of_the_shard_are_found(tmp_path):
    """Where nothing is shuffled, no seed is spoken of."""
    finished(config(tmp_path, token_shards={"formats": ["megatron"], "shuffle": False}))
    store = store_of(tmp_path)
    shard = table_of(store)[0]["shard"]
    data = store.read(token_file(shard, "megatron", ".bin"))
    exchanged(store, shard, "megatron", ".bin", bytes([data[0] ^ 1]) + data[1:])
    expect(store, ("token shards", token_file(shard, "megatron", ".bin"), f"of row 0 of {shard}, as it is in the order of the shard; make"))


@pytest.mark.parametrize("at_once", [1, 2, 1 << 13])
def test_the_table_is_made_and_read_a_few_shards_at_a_time(tmp_path, monkeypatch, at_once):
    """However few, the table is the same; verify takes its rows in any order, and finds every file that it leaves out."""
    monkeypatch.setattr(token_shards, "RECORDS", at_once)
    monkeypatch.setattr(verify_token_shards, "SHARDS_AT_ONCE", at_once)
    finished(config(tmp_path, execution={"seed": 2}))
    store = store_of(tmp_path)
    told = table_of(store)
    shards = documented(store)
    assert len(shards) > 2
    assert [(row["shard"], row["path"]) for row in told] == [
        (shard, token_file(shard, form, suffix)) for shard in shards for form in sorted(BOTH) for suffix in READERS[form][1]
    ]
    assert verify(store.uri).ok
    rewrite(store, lambda told: sorted(told, key=lambda row: row["sha256"]))
    assert verify(store.uri).ok
    path = token_file(shards[-1], "megatron", ".bin")
    replace_any(store, path, b"")
    assert [check.subject for check in verify(store.uri).checks if not check.ok] == [path]
    rewrite(store, lambda told: [row for row in told if row["path"] != path])
    expect(store, ("token shards table", TABLE_PATH, f"it does not name {path}"), ("token strays", path, "no version's table"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop_columns(["sha256"]), "its columns are"),
        (lambda table: table.drop_columns(["path"]), "its columns are"),
        (lambda table: table.append_column("path", table["path"]), "its columns are"),
        (lambda table: table.set_column(4, "tokens", table["tokens"].cast(pa.int32())), "its columns are"),
        (lambda table: table.set_column(4, "tokens", pa.nulls(len(table), pa.int64())), "something in it is null"),
        (lambda table: table.slice(0, 0), "its number of rows is 0"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), ".ds is there twice"),
    ],
)
def test_a_table_of_another_shape_is_told(whole, change, words):
    """Columns that are missing, twice there or of another type, nulls, no rows at all, and a row too many."""
    store, _ = whole
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(store.read(TABLE_PATH)))), sink)
    replace_any(store, TABLE_PATH, sink.getvalue().to_pybytes())
    failed = [check for check in verify(store.uri).checks if not check.ok and check.name == "token shards table"]
    assert any(check.subject == TABLE_PATH and words in check.message for check in failed)


TABLE_PATH = "versions/v1/token_shards.parquet"


def documented(store):
    """The shards with documents, in their order."""
    table = pq.read_table(pa.BufferReader(store.read("versions/v1/shards.parquet"))).to_pylist()
    return [row["path"] for row in table if row["rows"]]


def table_file(shard):
    """The file that the table names first."""
    return token_file(shard, "datatrove", ".ds")


def test_token_shards_that_were_asked_for_and_are_not_there_are_missed(whole):
    """A manifest that forgets them is not believed."""
    store, _ = whole
    made = orjson.loads(store.read("manifest.json"))
    del made["tables"]["token_shards"], made["output"]["token_shards"]
    for name in ("manifest.json", "versions/v1/manifest.json"):
        replace_any(store, name, orjson.dumps(made))
    replace_any(store, "README.md", card(made).encode())
    expect(
        store,
        ("version folder", "versions/v1/token_shards.parquet", "nothing names it"),
        ("token shards", "manifest.json", "asks for token shards, but tables.token_shards is missing"),
    )


def test_a_shard_that_cannot_be_read_is_told_once_for_each_format(whole):
    """Of the shard itself another check tells."""
    store, shard = whole
    store.delete([shard])
    failed = [(check.name, check.message) for check in verify(store.uri).checks if check.name == "token shards" and not check.ok]
    assert len(failed) == 2
    assert all(f"cannot be compared with {shard}" in message for _, message in failed)


def test_the_columns_that_verify_expects_are_those_that_runs_write():
    """The contract is written down twice, for runs and for their verification, and says the same."""
    assert {field.name: str(field.type) for field in TABLE} == verify_token_shards.COLUMNS
    assert dict(token_formats.SUFFIXES) == dict(verify_token_files.SUFFIXES) == {form: suffixes for form, (_, suffixes) in READERS.items()}
