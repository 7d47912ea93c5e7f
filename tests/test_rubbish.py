"""Bad input is loud and contained: each kind of rubbish ends in a quarantine entry with its place, or in one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import SCHEMA, Output, config_of, finished, records, write_jsonl, write_parquet
from spoilt import LENIENT, STEPS, good, made, message_of

from pipelines.errors import BudgetExceeded, InputError

pytestmark = pytest.mark.usefixtures("no_fsync")


# --- files


def break_footer(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def break_page(path: Path) -> None:
    """Overwrite the middle of the first row group."""
    data = bytearray(path.read_bytes())
    first = pq.ParquetFile(path).metadata.row_group(0)
    column = first.column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (break_footer, "truncated_parquet"),
        (lambda path: path.write_bytes(b""), "empty_file"),
        (lambda path: path.write_bytes(b"<html>404</html>" * 9), "not_parquet"),
    ],
    ids=["truncated", "zero-bytes", "html"],
)
def test_an_unreadable_file_is_counted_as_a_file(tmp_path, spoil, error):
    """It has no rows: it is listed with its error, outside the equation, and the others are processed."""
    good(tmp_path)
    bad = good(tmp_path, "spoilt.parquet")
    spoil(bad)
    found = finished(made(tmp_path, execution={"max_quarantined_fraction": 0.5}))
    listed = found.manifest["input"]
    assert (listed["files"], listed["rows"], listed["unreadable_files"]) == (2, 40, 1)
    assert [(entry["uri"], entry["error"]) for entry in listed["unreadable"]] == [(str(bad), error)]
    assert found.manifest["ledger"]["quarantined"] == {}


@pytest.mark.parametrize(
    ("execution", "kind", "words"),
    [
        ({}, BudgetExceeded, "1 of 2 input files cannot be read, the first is {bad}: truncated_parquet"),
        ({"max_quarantined_fraction": 0.49}, BudgetExceeded, "max_quarantined_fraction allows 0.49 of the files"),
        ({"on_error": "fail", **LENIENT}, InputError, "{bad}: truncated_parquet"),
    ],
    ids=["default", "below", "fail"],
)
def test_an_unreadable_file_stops_a_run_that_does_not_allow_it(tmp_path, execution, kind, words):
    """Before any work; the message names the first file, the error and the remedy."""
    good(tmp_path)
    bad = good(tmp_path, "spoilt.parquet")
    break_footer(bad)
    message = message_of(made(tmp_path, execution=execution), kind)
    assert words.format(bad=bad) in message
    assert "repair or remove" in message
    assert not list(records(tmp_path / "out"))


def test_no_file_that_can_be_read_is_an_error_whatever_the_budget(tmp_path):
    """Nothing could come out, and no schema is known."""
    bad = good(tmp_path)
    break_footer(bad)
    assert f"none of 1 input files can be read; the first: {bad}: " in message_of(made(tmp_path), InputError)


def test_a_row_group_that_cannot_be_decoded_is_quarantined_alone(tmp_path):
    """Its rows, and no other, are in quarantine with their place; the rest of the file is processed."""
    bad = good(tmp_path, "bad.parquet", 60)
    break_page(bad)
    found = finished(made(tmp_path))
    assert found.quarantined() == [("bad.parquet", 0, row, "read", "corrupt_row_group") for row in range(25)]
    assert found.manifest["ledger"]["rows_in"] == 60
    assert {row["message"] for row in found.table("quarantine")} != {""}


def test_files_without_rows_are_fine(tmp_path):
    """An empty Parquet file among others changes nothing; an input of nothing but empty files gives an empty dataset with its schema."""
    write_parquet(tmp_path / "in" / "empty.parquet", [])
    nothing = finished(made(tmp_path))
    assert nothing.manifest["output"]["rows"] == 0
    [shard] = nothing.shards()
    assert pq.read_schema(nothing.root / shard).names == SCHEMA.names
    good(tmp_path)
    (tmp_path / "in" / "none.jsonl").write_bytes(b"\n")
    some = finished(made(tmp_path))
    assert (some.manifest["input"]["files"], some.manifest["input"]["rows"]) == (3, 40)


@pytest.mark.parametrize("where", ["in/", "in/*.parquet", "in/**/*.jsonl"])
def test_no_file_at_all_is_one_clear_error(tmp_path, where):
    """It names what was looked for."""
    (tmp_path / "in").mkdir()
    config = config_of(tmp_path / "p.yaml", f"{tmp_path}/{where}", tmp_path / "out", STEPS)
    assert f"{tmp_path}/{where}: no file" in message_of(config, InputError)


def test_an_unknown_extension_is_one_clear_error(tmp_path):
    """The message tells what extensions are known, and the remedy."""
    good(tmp_path).rename(tmp_path / "in" / "good.dat")
    message = message_of(made(tmp_path), InputError)
    assert "good.dat: the extension tells no format" in message
    assert "input.format" in message


# --- the text column


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (None, "no input file has a string column 'text'; found: id (string), url (string)"),
        (pa.int64(), "text (int64)"),
        (pa.binary(), "text (binary)"),
        (pa.null(), "text (null)"),
        (pa.list_(pa.string()), "text (list<"),
    ],
    ids=str,
)
def test_no_text_in_any_file_is_one_clear_error(tmp_path, column, words):
    """Missing or not a string in every file: the message tells what there is, and which setting to mend."""
    columns: dict[str, Any] = {"id": ["a", "b"], "url": ["u", "v"]}
    table = pa.table(columns)
    if column is not None:
        table = table.append_column("text", pa.nulls(2, column))
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    message = message_of(made(tmp_path), InputError)
    assert words in message
    assert "set input.text_column" in message


@pytest.mark.parametrize(
    ("column", "error"),
    [(None, "missing_text_column"), (pa.int64(), "text_not_string"), (pa.null(), "null_text"), (pa.string(), "null_text")],
    ids=str,
)
def test_a_file_without_text_is_quarantined_row_by_row(tmp_path, column, error):
    """The other files are processed; each row keeps its place and its own id."""
    good(tmp_path)
    table = pa.table({"id": ["a", "b"]})
    if column is not None:
        table = table.append_column("text", pa.nulls(2, column))
    pq.write_table(table, tmp_path / "in" / "odd.parquet")
    found = finished(made(tmp_path))
    assert found.quarantined() == [("odd.parquet", 0, row, "read", error) for row in range(2)]
    assert [row["id"] for row in found.table("quarantine")] == ["a", "b"]


def test_mixed_schemas_are_joined_where_they_fit_and_quarantined_where_not(tmp_path):
    """Numbers widen, missing columns are null, and a file whose column cannot be converted goes to quarantine with the reason."""
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["one one"], "score": pa.array([1], pa.int32())}), folder / "a.parquet")
    pq.write_table(pa.table({"text": ["two two"], "score": pa.array([0.5]), "more": ["m"]}), folder / "b.parquet")
    pq.write_table(pa.table({"text": ["three"], "score": pa.array([[1, 2]])}), folder / "c.parquet")
    write_jsonl(folder / "d.jsonl", [{"text": "four", "score": 4}, {"text": "five", "score": "high"}, {"text": 6}, b"[7]", b"not json"])
    found = finished(made(tmp_path))
    assert [(row["text"], row["score"], row["more"]) for row in found.rows()] == [
        ("one one", 1.0, None),
        ("two two", 0.5, "m"),
        ("four", 4.0, None),
    ]
    assert found.quarantined() == [
        ("c.parquet", 0, 0, "read", "schema_mismatch"),
        ("d.jsonl", 0, 1, "read", "schema_mismatch"),
        ("d.jsonl", 0, 2, "read", "text_not_string"),
        ("d.jsonl", 0, 3, "read", "schema_mismatch"),
        ("d.jsonl", 0, 4, "read", "invalid_json"),
    ]


# --- documents


def test_monstrous_documents_pass(tmp_path):
    """5 MB in one document, a word of a million characters, NULs, controls and an unassigned plane come out as they went in."""
    texts = ["word " * 1_000_000, "w" * 1_000_000, "\0nul\0", "\x01\x02\x7f\u2028\ufeff\ufffe", "\U000e0001\U0010ffff", "e\u0301 é", " "]
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    write_parquet(tmp_path / "in" / "a.parquet", rows, schema=pa.schema([SCHEMA.field("id"), SCHEMA.field("text")]))
    write_jsonl(tmp_path / "in" / "b.jsonl", rows)
    steps = [
        {"type": "length_filter", "min_chars": 1},
        {"type": "exact_dedup", "normalize": "words"},
        {"type": "exact_dedup", "name": "raw"},
    ]
    found = finished(made(tmp_path, steps[2:], output={"target_shard_bytes": "1MiB"}, execution={"batch_bytes": "64KiB"}))
    assert found.texts() == texts
    assert len(finished(made(tmp_path, steps)).texts()) <= len(texts)


def test_a_giant_row_group_is_streamed(tmp_path):
    """20,000 rows in one row group give the same documents in batches of 16 KiB, in order."""
    rows = [{"id": str(number), "text": f"{number} " + "word " * (number % 40)} for number in range(20_000)]
    write_parquet(tmp_path / "in" / "a.parquet", rows, 20_000, pa.schema([SCHEMA.field("id"), SCHEMA.field("text")]))
    found = finished(made(tmp_path, STEPS[:1], execution={"batch_bytes": "16KiB"}))
    assert [row["id"] for row in found.rows("id")] == [str(number) for number in range(20_000)]


def test_lone_surrogates_and_bytes_that_are_no_text_are_quarantined(tmp_path):
    """In JSONL each bad line, in Parquet each bad value; the place is exact and the lines around them pass."""
    lines = [
        b'{"id": "a", "text": "fine"}',
        b'{"id": "b", "text": "\\ud800"}',
        b'{"id": "c", "text": "\\ud83d\\ude00"}',
        b'{"id": "d", "text": "\xff"}',
    ]
    write_jsonl(tmp_path / "in" / "a.jsonl", [*lines, b'{"id": "e", "text": "nul \\u0000 inside"}'])
    raw = pa.array([b"right", b"\xc3\x28", b"right too"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"id": ["x", "y", "z"], "text": text}), tmp_path / "in" / "b.parquet")
    found = finished(made(tmp_path, STEPS[1:]))
    assert found.texts() == ["fine", "\U0001f600", "nul \0 inside", "right", "right too"]
    assert found.quarantined() == [
        ("a.jsonl", 0, 1, "read", "invalid_utf8"),
        ("a.jsonl", 0, 3, "read", "invalid_utf8"),
        ("b.parquet", 0, 1, "read", "invalid_utf8"),
    ]
    assert [row["id"] for row in found.table("quarantine")] == ["b", found.table("quarantine")[1]["id"], "y"]


def test_duplicate_and_missing_ids_confuse_nothing(tmp_path):
    """A document is known by its place: the same id everywhere, or none, gives one doc_key a document."""
    rows = [{"id": "same" if number % 2 else None, "text": f"text {number % 30}"} for number in range(60)]
    schema = pa.schema([SCHEMA.field("id"), SCHEMA.field("text")])
    for name in ("a", "b"):
        write_parquet(tmp_path / "in" / f"{name}.parquet", rows, 20, schema)
    found = finished(made(tmp_path))
    duplicates = found.table("duplicates")
    assert len(found.rows()) == 30
    assert len({row["doc_key"] for row in duplicates}) == len(duplicates) == 90
    assert {row["num_duplicates"] for row in duplicates} == {3}
    assert all(row["id"] == "same" or row["id"] == row["doc_key"].hex() for row in duplicates)


def test_real_documents_pass(tmp_path):
    """The collection of odd real documents goes through the whole engine, balanced."""
    from operator_samples import SHARED

    source = SHARED / "data" / "docs" / "edge-00000.parquet"
    if not source.is_file():
        pytest.skip(f"real documents are absent: {source}")
    config = config_of(tmp_path / "p.yaml", source, tmp_path / "out", STEPS, execution=LENIENT)
    found: Output = finished(config)
    assert found.manifest["ledger"]["rows_in"] == pq.ParquetFile(source).metadata.num_rows
