"""The preview: documents exactly as in the shards, from all over the version, small whatever they are, the same bytes each time."""

from __future__ import annotations

import io
import json
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from made import Output, shards_table, with_digests

from pipelines.config import load
from pipelines.errors import InputError
from pipelines.preview import KEY, MAX_BYTES, MAX_DOCUMENT_BYTES, MAX_SHARDS, preview, preview_path
from pipelines.run import run
from pipelines.sizes import row_sizes
from pipelines.storage import open_store


def documents(start, number, chars=20):
    """A table of documents that are all different."""
    rows = range(start, start + number)
    return pa.table(
        {
            "id": pa.array([f"id-{row}" for row in rows], pa.string()),
            "text": pa.array([f"{row:x}".ljust(chars, "-") for row in rows], pa.large_string()),
        }
    )


def version(store, tables, rows_per_group=1000):
    """Write shards; returns what of the manifest a preview needs, and the table of shards."""
    files = {}
    for number, table in enumerate(tables):
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=rows_per_group)
        files[f"data/v1/part-{number:05d}-0a1b2c3d.parquet"] = sink.getvalue()
    for path, data in files.items():
        store.create(path, data)
    schema = [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in tables[0].schema]
    manifest = {"version": "v1", "run_id": "0a1b2c3d4e5f6071", "schema": schema}
    return manifest, shards_table(files, [None] * len(files))


def opened(data):
    return pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)


def runs_of(file):
    return json.loads(file.metadata.metadata[KEY])


def named_rows(store, file):
    """The rows that the preview's footer names, read from the shards."""
    read = {path: pq.read_table(io.BytesIO(store.read(path))) for path, _, _ in runs_of(file)}
    schema = file.schema_arrow.remove_metadata()
    return pa.concat_tables([schema.empty_table(), *(read[path].slice(start, rows) for path, start, rows in runs_of(file))])


@given(sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40), wanted=st.integers(1, 1500), group=st.sampled_from([7, 100, 1000]))
@settings(max_examples=40, deadline=None)
def test_rows_are_those_of_the_shards(sizes, wanted, group):
    """As many documents as were asked for, or all that the chosen shards have, each where the footer says, in the order of the shards."""
    starts = np.cumsum([0, *sizes])
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        tables = [documents(int(start), size) for start, size in zip(starts, sizes, strict=False)]
        manifest, shards = version(store, tables, group)
        data = preview(store, manifest, shards, wanted)
        file = opened(data)
        found = file.read()
        assert found.equals(named_rows(store, file))
        assert data == preview(store, manifest, shards, wanted)
    runs = runs_of(file)
    paths = [path for path, _, _ in runs]
    assert paths == sorted(set(paths))
    assert all(start == 0 for _, start, _ in runs)
    filled = [size for size in sizes if size]
    assert len(paths) == min(MAX_SHARDS, wanted, len(filled))
    if len(filled) <= MAX_SHARDS:
        assert found.num_rows == min(wanted, sum(sizes))
    assert found.num_rows <= wanted
    ids = found.column("id").to_pylist()
    assert len(set(ids)) == len(ids)


def test_documents_come_from_all_over_the_version(tmp_path):
    """Of many shards some of each part of the version are chosen, and each gives as many documents."""
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [documents(100 * number, 100) for number in range(100)])
    runs = runs_of(opened(preview(store, manifest, shards, 160)))
    numbers = [int(path[13:18]) for path, _, _ in runs]
    assert [rows for _, _, rows in runs] == [10] * 16
    assert numbers[0] < 7
    assert numbers[-1] > 93
    assert set(np.diff(numbers)) <= {6, 7}


def test_no_preview_and_an_empty_one(tmp_path):
    """None where none is wanted; the columns alone where there is no document."""
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [documents(0, 0)])
    assert preview(store, manifest, shards, 0) is None
    file = opened(preview(store, manifest, shards, 10))
    assert file.metadata.num_rows == 0
    assert file.schema_arrow.remove_metadata() == documents(0, 0).schema
    assert runs_of(file) == []
    with pytest.raises(InputError, match="names no shard"):
        preview(store, manifest, shards.slice(0, 0), 10)


def test_large_documents_are_passed_over(tmp_path):
    """A document above 1 MiB is not in the preview, those around it are, and the footer says where each is."""
    store = open_store(str(tmp_path))
    texts = ["a", "b" * MAX_DOCUMENT_BYTES, "c", "d" * (MAX_DOCUMENT_BYTES - 100), *("e" * 2_000_000 for _ in range(20)), *"fg" * 100]
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    huge = pa.table({"text": pa.array(["h" * 3_000_000], pa.large_string())})
    manifest, shards = version(store, [table, huge])
    file = opened(preview(store, manifest, shards, 151))
    assert [text[0] for text in file.read().column("text").to_pylist()] == ["a", "c", "d", *"fg" * 73, "f"]
    first = "data/v1/part-00000-0a1b2c3d.parquet"
    assert runs_of(file) == [[first, 0, 1], [first, 2, 2], [first, 24, 147]]
    assert file.read().equals(named_rows(store, file))
    empty = opened(preview(store, manifest, shards.slice(1), 10))
    assert (empty.metadata.num_rows, empty.num_row_groups, runs_of(empty)) == (0, 0, [])  # `datasets` reads no empty row group


def test_size_is_bounded_and_shared_fairly(tmp_path):
    """Long documents: fewer of them, together below the bound, and each shard has its share."""
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [documents(1000 * number, 8, chars=900_000) for number in range(20)], rows_per_group=4)
    data = preview(store, manifest, shards, 100_000)
    file = opened(data)
    table = file.read()
    assert sum(int(row_sizes(batch, table.column_names).sum()) for batch in table.to_batches()) <= MAX_BYTES
    assert {rows for _, _, rows in runs_of(file)} == {2, 3}
    assert len(runs_of(file)) == MAX_SHARDS


def test_the_viewer_reads_pages(tmp_path):
    """Row groups of 100 documents with an index of their pages, compressed, with checksums."""
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [documents(0, 700), documents(700, 700)])
    metadata = opened(preview(store, manifest, shards, 1000)).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [100] * 10
    column = metadata.row_group(0).column(1)
    assert column.has_offset_index
    assert column.has_column_index
    assert column.compression == "ZSTD"


def test_any_columns_stay_as_they_are(tmp_path):
    """Nested columns, token ids, dictionaries, maps, nulls in all of them: as in the shard, field by field."""
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("text", pa.large_string()),
            pa.field("input_ids", pa.list_(pa.int32())),
            pa.field("signals", pa.struct([("score", pa.float32()), ("words", pa.list_(pa.struct([("n", pa.int8())])))])),
            pa.field("tags", pa.map_(pa.string(), pa.int64())),
            pa.field("language", pa.dictionary(pa.int32(), pa.string())),
            pa.field("at", pa.timestamp("us", tz="UTC")),
            pa.field("price", pa.decimal128(9, 2)),
            pa.field("raw", pa.large_binary()),
            pa.field("vector", pa.list_(pa.float32(), 2)),
            pa.field("nothing", pa.null()),
        ]
    )
    row = {
        "id": "a",
        "text": "é\0\n",
        "input_ids": [1, None, -2],
        "signals": {"score": float("inf"), "words": [{"n": 1}, None]},
        "tags": [("x", 1), ("y", None)],
        "language": "en",
        "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "price": Decimal("12.50"),
        "raw": b"\xff",
        "vector": [0.5, -0.0],
        "nothing": None,
    }
    nulls = {**dict.fromkeys(schema.names), "id": "b"}
    empty = {**nulls, "id": "c", "text": "", "input_ids": [], "tags": [], "signals": {"score": None, "words": []}}
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [pa.Table.from_pylist([row, nulls, empty] * 100, schema=schema)] * 2, rows_per_group=150)
    file = opened(preview(store, manifest, shards, 450))
    assert file.schema_arrow.remove_metadata() == pq.read_schema(io.BytesIO(store.read(runs_of(file)[0][0]))).remove_metadata()
    assert file.read().num_rows == 450
    assert file.read().combine_chunks().equals(named_rows(store, file).combine_chunks())


def test_a_large_shard_is_read_from_its_beginning_only(tmp_path, monkeypatch):
    """A shard of a large row group costs a few blocks, not its size."""
    store = open_store(str(tmp_path))
    noise = np.random.default_rng(0).integers(33, 126, 40_000_000, np.uint8)
    text = pa.LargeStringArray.from_buffers(20_000, pa.py_buffer(np.arange(0, 40_002_000, 2000)), pa.py_buffer(noise))
    table = pa.table({"id": pa.array([str(row) for row in range(20_000)]), "text": text})
    manifest, shards = version(store, [table] * 3, rows_per_group=20_000)
    read = []
    real = type(store).read_range

    def counted(self, path, start, stop, *, etag=None):
        read.append(stop - start)
        return real(self, path, start, stop, etag=etag)

    monkeypatch.setattr(type(store), "read_range", counted)
    assert opened(preview(store, manifest, shards, 300)).metadata.num_rows == 300
    size = shards.column("bytes").to_numpy().sum()
    assert size > 60_000_000
    assert sum(read) < size / 4


def test_spoilt_shards_are_told(tmp_path):
    """A shard that is cut short, is no Parquet, or has other columns: one error that names it and the remedy."""
    store = open_store(str(tmp_path))
    manifest, shards = version(store, [documents(0, 10), documents(10, 10)])
    path = "data/v1/part-00001-0a1b2c3d.parquet"
    whole = (tmp_path / path).read_bytes()
    other = io.BytesIO()
    pq.write_table(documents(10, 10).rename_columns(["id", "body"]), other)
    middle = len(whole) // 3
    for data, message in (
        (whole[:-20], "cannot be read as Parquet"),
        (b"no Parquet", "cannot be read as Parquet"),
        (whole[:10] + bytes(byte ^ 255 for byte in whole[10:middle]) + whole[middle:], "cannot be read as Parquet"),
        (
            other.getvalue(),
            r"its columns \(id: string, body: large_string\) are not those of the manifest \(id: string, text: large_string\)",
        ),
    ):
        (tmp_path / path).unlink()
        (tmp_path / path).write_bytes(data)
        with pytest.raises(InputError, match=message) as error:
            preview(store, manifest, shards, 20)
        assert path in str(error.value)
        assert "restore" in str(error.value)


def test_a_finished_output_with_folders_and_tokens(tmp_path):
    """Of a real run's output, partitioned: the preview has the columns of the manifest, and rows of each folder."""
    rows = [{"id": str(row), "text": f"text {row}", "language": "de" if row % 3 else "en"} for row in range(60)]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "a.parquet")
    config = {
        "name": "p",
        "input": {"uri": str(tmp_path / "in" / "*.parquet")},
        "output": {"uri": str(tmp_path / "out"), "partition_by": ["language"], "target_shard_bytes": "1KiB"},
        "cluster": {"type": "inline"},
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(config))
    manifest = run(load(Path(tmp_path / "p.yaml"))).manifest
    store = open_store(str(tmp_path / "out"))
    shards = pq.read_table(io.BytesIO(store.read("versions/v1/shards.parquet")))
    file = opened(preview(store, manifest, shards, 20))
    assert [field.name for field in file.schema_arrow] == [field["name"] for field in manifest["schema"]]
    assert set(file.read().column("language").to_pylist()) == {"de", "en"}
    assert file.read().equals(named_rows(store, file))
    assert preview_path(manifest) == f"preview/v1/part-00000-{manifest['run_id'][:8]}.parquet"


def test_an_output_with_token_ids(tmp_path):
    """Documents with token ids keep them."""
    store = open_store(str(tmp_path))
    manifest = Output().write(store)
    shards = pq.read_table(io.BytesIO(store.read("versions/v1/shards.parquet")))
    file = opened(preview(store, orjson.loads(orjson.dumps(manifest)), shards, 100))
    assert file.read().equals(named_rows(store, file))
    assert file.read().num_rows == manifest["output"]["rows"]
    assert with_digests({"preview": preview(store, manifest, shards, 100)})[0]["rows"] == manifest["output"]["rows"]
