"""Shapes of columns that an operator or an input may have: whatever they are, the output has them, alike for every size of batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from corpora import Output, config_of, custom, differences, files_of, finished, write_jsonl
from hypothesis import example, given
from hypothesis import strategies as st
from operator_samples import ASSETS
from spoilt import message_of

from operators.base import BatchOperator, Result
from operators.c4 import C4Paragraph
from operators.fineweb import FineWebQuality
from pipelines import identity
from pipelines.chain import open_chain
from pipelines.errors import InputError, UnitError
from pipelines.layers import delta
from pipelines.partition_folders import folder_name, partition_codes
from pipelines.rows import DROPPED, DropTable, Rows

pytestmark = pytest.mark.usefixtures("no_fsync")

DEFAULT = "__HIVE_DEFAULT_PARTITION__"
FIRST, LAST = {"type": "exact_dedup"}, {"type": "exact_dedup", "columns": ["id"], "name": "ids"}
WORDS = {"type": "length_filter", "min_chars": 12}
SIZES = ({"unit_bytes": "16KiB", "batch_bytes": "8KiB"}, {"unit_bytes": "4KiB", "batch_bytes": "1KiB"})
"""Few large batches, and many small ones."""


def texts(number: int) -> list[str]:
    return ["a text that is shared" if row % 7 == 0 else f"{'ab' * (row % 5)} text {row}" for row in range(number)]


def source(folder: Path, number: int = 120, **columns: pa.Array) -> Path:
    """One file of documents with some more columns."""
    path = folder / "in" / "a.parquet"
    path.parent.mkdir(parents=True)
    rows = pa.array(range(number))
    made = pa.table({"id": pc.cast(rows, pa.string()), "text": texts(number), "n": rows, **columns})
    pq.write_table(made, path, row_group_size=30)
    return path


def done(folder: Path, operators: list[Any], execution: dict[str, Any], name: str = "out", **output: Any) -> Output:
    return finished(settings(folder, operators, execution, name, **output))


def settings(folder: Path, operators: list[Any], execution: dict[str, Any], name: str = "out", **output: Any) -> Any:
    output.setdefault("target_shard_bytes", "4KiB")
    return config_of(folder / "p.yaml", f"{folder}/in/", folder / name, operators, execution=execution, output=output)


def same_in_all_sizes(folder: Path, operators: list[Any], **output: Any) -> Output:
    """Run with each size; every file is the same."""
    found = [done(folder, operators, size, f"out-{number}", **output) for number, size in enumerate(SIZES)]
    assert not differences(files_of(found[0].root), files_of(found[1].root))
    return found[0]


# --- columns that operators remove, move, rename or add

NOT_NULL = """
field = pa.field("m", pa.int64(), nullable=False)
return Result(pa.RecordBatch.from_arrays([*batch.columns, pc.negate(batch["n"])], schema=batch.schema.append(field)))
"""
RESHAPED = {
    "removed": ('return Result(batch.drop_columns(["n"]))', ["id", "text"]),
    "reordered": ('return Result(batch.select(["n", "text", "id"]))', ["n", "text", "id"]),
    "renamed": ('return Result(batch.rename_columns(["id", "text", "m"]))', ["id", "text", "m"]),
    "not-null": (NOT_NULL, ["id", "text", "n", "m"]),
}


@pytest.mark.parametrize("before", [[], [FIRST]], ids=["first-stage", "middle-stage"])
@pytest.mark.parametrize("change", RESHAPED)
def test_what_an_operator_does_to_the_columns_lasts_through_later_stages(tmp_path, change, before):
    """A column that it removes stays away, one that it moves stays where it is, and one that is never null goes through."""
    body, names = RESHAPED[change]
    source(tmp_path)
    found = same_in_all_sizes(tmp_path, [*before, custom(tmp_path, body), LAST, WORDS])
    assert [column["name"] for column in found.manifest["schema"]] == names
    rows = found.rows()
    assert all(list(row) == names for row in rows)
    assert [texts(120)[int(row["id"])] for row in rows] == [row["text"] for row in rows]
    if "m" in names:
        assert [abs(row["m"]) for row in rows] == [int(row["id"]) for row in rows]


def test_a_column_that_is_removed_and_made_again_is_the_new_one(tmp_path):
    """Even where a stage between removed it: nothing of the old column comes back."""
    source(tmp_path)
    gone = custom(tmp_path, 'return Result(batch.drop_columns(["n"]))', "gone")
    again = custom(tmp_path, 'return Result(batch.append_column("n", pc.utf8_length(batch["text"])))', "again")
    found = same_in_all_sizes(tmp_path, [gone, FIRST, WORDS, LAST, again])
    assert [row["n"] for row in found.rows()] == [len(text) for text in found.texts()]


def test_a_broken_contract_shows_the_columns_that_differ_with_their_nullability(tmp_path):
    """Where names and types agree, the message still tells what is wrong."""
    source(tmp_path)
    body = 'field = pa.field("m", pa.int64(), nullable=batch.num_rows == 0)'
    body += '\nreturn Result(pa.RecordBatch.from_arrays([*batch.columns, batch["n"]], schema=batch.schema.append(field)))'
    message = message_of(settings(tmp_path, [custom(tmp_path, body)], {}), UnitError)
    assert "found ['m: int64 not null'], expected ['m: int64']" in message


# --- encodings


def test_dictionaries_that_an_operator_makes_do_not_show_in_the_bytes(tmp_path):
    """Their entries depend on the batch, so what leaves the operator is plain, nested dictionaries too."""
    source(tmp_path)
    body = """
made = pc.utf8_slice_codeunits(batch["text"], 0, 4).dictionary_encode()
batch = batch.append_column("d", made)
return Result(batch.append_column("s", pa.StructArray.from_arrays([made], names=["x"])))
"""
    found = same_in_all_sizes(tmp_path, [custom(tmp_path, body), WORDS, FIRST, LAST])
    assert [column["type"] for column in found.manifest["schema"]][-2:] == ["string", "struct<x: string>"]
    assert all(row["d"] == row["s"]["x"] == row["text"][:4] for row in found.rows())


ENCODED = {
    "runs": pc.run_end_encode(pa.array([1, 1, 2])),
    "dictionary of structs": pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array([{"a": 1}, {"a": 2}])),
    "views": pa.array(["a", None, "b"], pa.string_view()),
    "never null": pa.array([[1], [2, 3], []], pa.list_(pa.field("item", pa.int64(), nullable=False))),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_an_opened_operator_promises_plain_columns(kind):
    """The next stage is opened with what it will get."""

    class Encoding(BatchOperator):
        """Adds an encoded column."""

        type: str = "encoding"

        def open(self, assets):
            return lambda batch: Result(batch.append_column("x", ENCODED[kind].slice(0, batch.num_rows)))

    (opened,) = open_chain([Encoding()], pa.schema([("id", pa.string())]), ASSETS)
    field = opened.schema.field("x")
    assert field.nullable
    assert not pa.types.is_run_end_encoded(field.type)
    assert not pa.types.is_dictionary(field.type)
    assert field.type not in (pa.string_view(), ENCODED["never null"].type)


# --- partitions


def nested(kind: str) -> pa.Array:
    return {"list": pa.array([[1]] * 120), "bytes": pa.array([b"x"] * 120)}[kind]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("nope", "the documents have no column 'nope'; they have: id, text, n, list, bytes, a/b"),
        ("list", "column 'list' is list<element: int64>, which names no folder"),
        ("bytes", "column 'bytes' is binary, which names no folder"),
        ("a/b", "'a/b' cannot begin a folder's name"),
    ],
)
def test_a_column_that_cannot_name_folders_is_refused_before_the_start(tmp_path, column, words):
    """Nothing has been read, and nothing was committed."""
    source(tmp_path, **{kind: nested(kind) for kind in ("list", "bytes")}, **{"a/b": pa.nulls(120, pa.string())})
    message = message_of(settings(tmp_path, [], {}, partition_by=[column]), InputError)
    assert message.startswith("output.partition_by: ")
    assert words in message
    assert not list((tmp_path / "out").rglob("records"))


def test_a_column_that_an_operator_makes_can_name_folders(tmp_path):
    """What counts is what the documents have in the end."""
    source(tmp_path)
    made = custom(tmp_path, 'return Result(batch.append_column("even", pc.equal(pc.bit_wise_and(batch["n"], 1), 0)))')
    found = same_in_all_sizes(tmp_path, [made, FIRST], partition_by=["even"])
    assert {path.split("/")[2] for path in found.shards()} == {"even=False", "even=True"}


def test_null_and_the_name_of_its_folder_share_a_partition_in_row_order(tmp_path):
    """No reader can tell them apart, and the order of their rows does not depend on batches."""
    values = [None, DEFAULT, "x", DEFAULT, None]
    source(tmp_path, h=pa.array([values[row % 5] for row in range(120)]))
    found = same_in_all_sizes(tmp_path, [], partition_by=["h"], target_shard_bytes="1MiB")
    assert {path.split("/")[2] for path in found.shards()} == {"h=x", f"h={DEFAULT}"}
    (path,) = [path for path in found.shards() if DEFAULT in path]
    assert pq.ParquetFile(found.root / path).read()["n"].to_pylist() == [row for row in range(120) if row % 5 != 2]


def test_long_values_keep_their_beginning_and_stay_apart(tmp_path):
    """Values that differ only where a folder's name has no room have folders of their own, whose names a file system can hold."""
    long = ["ж" * 300 + end for end in "abc"]
    source(tmp_path, s=pa.array([long[row % 3] for row in range(120)]))
    found = same_in_all_sizes(tmp_path, [], partition_by=["s"], target_shard_bytes="1MiB")
    folders = [path.split("/")[2] for path in found.shards()]
    assert len(set(folders)) == 3
    assert all(folder.startswith("s=%D0%B6%D0%B6") and len(folder) <= 255 for folder in folders)
    for path in found.shards():
        assert len(set(pq.ParquetFile(found.root / path).read()["s"].to_pylist())) == 1


@example([(None, 1), (DEFAULT, 1)])
@given(st.lists(st.tuples(st.text(max_size=400), st.one_of(st.none(), st.integers(0, 3))), max_size=20))
def test_folders_are_those_that_occur(rows):
    """Every row has the folder of its own values, each is there once, sorted, and none is too long."""
    batch = pa.RecordBatch.from_pydict({"s": pa.array([s for s, _ in rows], pa.string()), "k": pa.array([k for _, k in rows], pa.int64())})
    codes, folders = partition_codes(batch, ["s", "k"])
    expected = [f"{folder_name('s', s)}/{folder_name('k', k)}" for s, k in rows]
    assert [folders[code] for code in codes.tolist()] == expected
    assert folders == sorted(set(expected))
    assert all(len(name.encode()) <= 255 for folder in folders for name in folder.split("/"))


def test_many_values_in_two_columns_cost_no_product():
    """Ten thousand values of each make ten thousand folders, not their hundred million pairs."""
    numbers = pa.array(range(10_000))
    codes, folders = partition_codes(pa.RecordBatch.from_arrays([numbers, pc.negate(numbers)], names=["a", "b"]), ["a", "b"])
    assert len(folders) == len(set(codes.tolist())) == 10_000


# --- ids


@pytest.mark.parametrize("value", [{"$oid": "7"}, ["7"]], ids=["struct", "list"])
def test_ids_that_are_no_single_values_are_an_error_only_where_they_were_asked_for(tmp_path, value):
    """By default the documents go by their keys, and the column goes through as it is."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"id": value, "text": text} for text in texts(30)])
    found = finished(config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "out", [FIRST, WORDS]))
    assert all(row["id"] == value for row in found.rows())
    assert all(row["id"] == row["doc_key"].hex() for row in found.table("dropped"))
    named = config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "other", [FIRST], input={"id_column": "id"})
    assert "input.id_column: column 'id' is" in message_of(named, InputError)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(3)], ids=str)
def test_ids_of_bytes_are_told_in_hexadecimal(tmp_path, kind):
    """As text they would make side tables that cannot be read."""
    ids = [b"\xff\xfe" + bytes([row]) for row in range(120)]
    source(tmp_path, id=pa.array(ids, kind))
    found = same_in_all_sizes(tmp_path, [WORDS, FIRST])
    dropped, duplicates = found.table("dropped"), found.table("duplicates")
    assert [row["id"] for row in dropped] == [ids[row["row"]].hex() for row in dropped]
    assert {row["kept_id"] for row in duplicates} == {ids[0].hex()}


@given(st.lists(st.one_of(st.none(), st.binary(max_size=5))), st.integers(0, 3))
def test_bytes_become_hexadecimal_and_nulls_keys(values, start):
    """Also in a slice of a column."""
    column = pa.array(values, pa.binary())[start:]
    keys = identity.doc_keys([b"0123456789"], np.zeros(len(column), np.int64), np.arange(len(column)))
    expected = [key.hex() if value is None else value.hex() for key, value in zip(keys.to_pylist(), column.to_pylist(), strict=True)]
    assert identity.ids(column, keys).to_pylist() == expected


def test_an_operator_may_nest_the_ids(tmp_path):
    """From there on documents are told by their keys."""
    source(tmp_path)
    body = 'return Result(batch.set_column(0, "id", pa.StructArray.from_arrays([batch["id"]], names=["x"])))'
    found = same_in_all_sizes(tmp_path, [custom(tmp_path, body), WORDS, FIRST])
    assert all(row["id"] == row["doc_key"].hex() for row in found.table("dropped"))


# --- the dropped documents' own columns


def test_dropped_documents_carry_the_input_as_far_as_their_stage_has_it(tmp_path):
    """A type that an operator changed is no error: the value is the one that came into the stage, later null. Nothing is cast."""
    source(tmp_path)
    words = custom(tmp_path, 'return Result(batch.set_column(2, "n", pc.cast(batch["n"], pa.string())))')
    found = same_in_all_sizes(tmp_path, [words, WORDS, FIRST, {**LAST, "columns": ["text"]}], dropped=True)
    rows = found.table("dropped")
    by_operator = {name: [row for row in rows if row["operator"] == name] for name in ("length_filter", "exact_dedup")}
    assert all(by_operator.values())
    assert all(row["n"] == row["row"] for row in by_operator["length_filter"])
    assert all(row["n"] is None for row in by_operator["exact_dedup"])
    assert all(row["text"] == texts(120)[row["row"]] for row in rows)


def test_dropped_documents_carry_columns_whose_names_are_taken(tmp_path):
    """A column called like one of the table's gets a name that is free, and another keeps its own."""
    names = ("uri", "input_uri", "row", "reason")
    source(tmp_path, **{name: pa.array([f"{name} {row}" for row in range(120)]) for name in names})
    rows = same_in_all_sizes(tmp_path, [WORDS], dropped=True).table("dropped")
    carried = {"uri": "input_input_uri", "input_uri": "input_uri", "row": "input_row", "reason": "input_reason"}
    assert rows
    for row in rows:
        assert {name: row[free] for name, free in carried.items()} == {name: f"{name} {row['row']}" for name in names}


@given(st.lists(st.sampled_from(["uri", "input_uri", "input_input_uri", "row", "text", "input_text"]), unique=True))
def test_names_of_carried_columns_are_free(names):
    """Whatever the input's columns are called, and only taken names change."""
    found = DropTable(explained=False, carried=pa.schema([(name, pa.string()) for name in names])).schema.names[len(DROPPED) :]
    assert len({*found, *DROPPED.names}) == len(names) + len(DROPPED)
    assert all(new == old or old in DROPPED.names for old, new in zip(names, found, strict=True))


# --- what a stage changed


def test_a_changed_sign_of_zero_is_a_change(tmp_path):
    """In a batch that loses documents and in one that doesn't, at the top and nested."""
    zeros = [-0.0 if row % 3 else 1.0 for row in range(120)]
    source(tmp_path, x=pa.array(zeros), y=pa.array([[zero] for zero in zeros]))
    body = """
batch = batch.set_column(3, "x", pc.add(pc.abs(batch["x"]), 0.0))
return Result(batch.set_column(4, "y", pa.ListArray.from_arrays(pa.array(range(batch.num_rows + 1), pa.int32()), batch["x"])))
"""
    rows = same_in_all_sizes(tmp_path, [FIRST, custom(tmp_path, body)]).rows()
    assert not [row for row in rows if np.signbit(row["x"]) or np.signbit(row["y"][0])]


def rows_of(**columns: pa.Array) -> Rows:
    batch = pa.RecordBatch.from_pydict(columns)
    return Rows(batch, np.zeros(batch.num_rows, np.int64), np.arange(batch.num_rows))


def test_a_delta_holds_only_what_changed():
    """Columns that are the same memory, or equal and free of floats, are not copied."""
    text, number = pa.array(["a", "b", "c"]), pa.array([1.0, 2.0, 3.0])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 2)
    before = rows_of(text=text, number=number, vectors=vectors)
    assert delta(before, rows_of(text=pa.array(["a", "b", "c"]), number=number, vectors=vectors)).schema.names == ["_shardmill_index"]
    kept = before.filter(np.array([True, False, True]))
    assert "text" not in delta(before, kept).schema.names
    assert "text" in delta(before, rows_of(text=pa.array(["a", "b", "x"]))).schema.names


def test_children_at_other_places_of_the_same_memory_are_a_change():
    """Arrow compares the values of zeros without their sign, and a struct does not tell where its children begin."""
    values = pa.array([-0.0, 0.0, 0.0])
    before, after = (pa.StructArray.from_arrays([values[start : start + 2]], names=["x"]) for start in (0, 1))
    assert before.equals(after)
    assert "s" in delta(rows_of(s=before), rows_of(s=after)).schema.names


@pytest.mark.parametrize("settings", [{"name": "text", "annotate": True}, {"name": "text", "keep_signals": True}])
def test_signals_never_take_the_place_of_the_text(settings):
    """An operator that is called like the text's column would put its measurements there: the run does not start."""
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string())])
    with pytest.raises(UnitError, match="operator 'text': it would replace the text in column 'text' by struct"):
        open_chain([C4Paragraph(), FineWebQuality(**settings)], schema, ASSETS)
    assert len(open_chain([FineWebQuality(**settings | {"name": "lines"})], schema, ASSETS)) == 1
