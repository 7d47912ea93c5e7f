"""A sample is read as it was designed: from any format and store, in any order of arrival, within its bounds."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import hive_corpus
from servers import RangeServer

from pipelines import sample as sample_module
from pipelines import sample_frame
from pipelines.documents import ReadOptions
from pipelines.errors import InputChanged, InputError
from pipelines.intervals import proportion
from pipelines.inventory import take_inventory
from pipelines.sample import read_sample
from pipelines.sample_frame import take_frame
from pipelines.sampling import BOUNDS, Bounds, draw
from pipelines.storage import Sources

OPTIONS = ReadOptions(None, "text", "id", ())


def table_of(start: int, number: int, words: int = 40) -> pa.Table:
    rows = range(start, start + number)
    return pa.table(
        {
            "id": [f"d{row}" for row in rows],
            "text": pa.array([" ".join(f"w{(row * 31 + word) % 9973}" for word in range(words)) for row in rows], pa.large_string()),
            "row": pa.array(rows, pa.int64()),
        }
    )


def write(folder, files, rows=60, group_rows=20, words=40):
    for number in range(files):
        path = folder / f"{number % 10}" / f"part-{number:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(number * rows, rows, words), path, row_group_size=group_rows)
    return folder


def sampled(folder, documents=100, seed=0, bounds=BOUNDS, options=OPTIONS, **settings):
    sources = Sources()
    inventory = take_inventory(sources, [f"{folder}/"], options)
    return inventory, read_sample(sources, inventory, options, draw(inventory, documents, seed, bounds), **settings)


TIGHT = Bounds(max_bytes=200_000, min_clusters=8, max_clusters=20)


def test_documents_are_those_of_their_places(tmp_path):
    """Every document stands at the file and row that are told of it, in the inventory's order, once, in a row group of the design."""
    inventory, found = sampled(write(tmp_path, 30), documents=200, bounds=TIGHT)
    for places in (found.documents, found.wide):
        rows = places.table["row"].to_numpy()
        files = [uri.rsplit("-", 1)[-1] for uri in places.uris(inventory).to_pylist()]
        assert [int(name[:5]) * 60 for name in files] == (rows - places.row).tolist()
        assert (np.diff(places.file * 1000 + places.row) > 0).all()
        clusters = [found.design.clusters[number] for number in places.cluster.tolist()]
        assert [(one.file, one.row_group) for one in clusters] == list(zip(places.file, places.row // 20, strict=True))
    assert len(found.documents) == found.design.documents == 200
    assert np.bincount(found.documents.cluster, minlength=len(found.design.clusters)).tolist() == [
        cluster.documents for cluster in found.design.clusters
    ]
    assert found.rows_read == len(found.wide) < inventory.rows
    assert found.scheme.weight.sum() == pytest.approx(inventory.rows)


def test_the_order_of_arrival_does_not_matter(tmp_path, monkeypatch):
    """One thread or many, small batches or large, and with bounds that let most rows go: the same documents."""
    folder = write(tmp_path, 20)
    bounds = Bounds(wide_bytes=30_000)
    monkeypatch.setattr(sample_module, "MAX_SAMPLE_BYTES", 15_000)
    _, one = sampled(folder, 150, bounds=bounds, threads=1)
    monkeypatch.setattr(sample_module, "BATCH_BYTES", 2000)
    _, other = sampled(folder, 150, bounds=bounds, threads=12)
    assert one.documents.table.combine_chunks() == other.documents.table.combine_chunks()
    assert one.wide.table.combine_chunks() == other.wide.table.combine_chunks()
    assert (one.wide_rate, one.damage, one.scheme.weight.tolist()) == (other.wide_rate, other.damage, other.scheme.weight.tolist())
    assert "left out" in one.notes[-1]
    assert 0 < len(one.documents) < 150
    assert one.wide.table.nbytes <= 30_000 * 1.5


def test_the_wide_rows_are_an_even_part(tmp_path):
    """Each row that is read is among the wide ones with the rate that is told."""
    _, found = sampled(write(tmp_path, 60), bounds=Bounds(wide_bytes=300_000))
    assert len(found.wide) / found.rows_read == pytest.approx(found.wide_rate, rel=0.1)
    assert not found.wide_is_census


def test_what_does_not_fit_is_no_census(tmp_path, monkeypatch):
    """Where documents that were drawn do not fit in memory, the others are a sample, with its errors, and that is told."""
    write(tmp_path, 4)
    monkeypatch.setattr(sample_module, "MAX_SAMPLE_BYTES", 20_000)
    _, found = sampled(tmp_path, documents=1000)
    assert 20 < len(found.documents) < 240
    assert not found.design.is_census
    assert (found.scheme.rate < 1).all()
    assert any("were left out" in note for note in found.notes)
    kept = np.arange(len(found.documents)) % 2 == 0
    estimate = proportion(found.scheme, np.ones(len(kept), bool), kept)
    assert estimate.low < 0.5 < estimate.high


def test_a_small_input_is_read_whole(tmp_path):
    """Then the wide rows are all of it, and so are the documents if there are no more than were asked for."""
    _, found = sampled(write(tmp_path, 3), documents=500)
    assert (len(found.documents), len(found.wide), found.wide_is_census, found.design.is_census) == (180, 180, True, True)
    assert found.read_bytes <= sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))


def test_all_formats_and_damaged_rows(tmp_path):
    """JSON lines and Parquet in hive folders: path columns are there, and rows that are no documents are counted by cluster."""
    hive_corpus(tmp_path)
    options = replace(OPTIONS, path_columns=("dump",))
    inventory, found = sampled(tmp_path, documents=10_000, options=options)
    assert found.documents.table.schema.equals(inventory.schema)
    assert set(found.documents.table["dump"].to_pylist()) == {"2024-01", "2024-02"}
    assert len(found.documents) + sum(sum(one.drawn.values()) for one in found.damage) == inventory.rows
    assert found.damaged["null_text"] >= 1
    assert found.damaged.total() == inventory.rows - len(found.wide)


def test_a_changed_file_is_an_error(tmp_path):
    """It is not read as what was listed."""
    write(tmp_path, 3)
    sources = Sources()
    inventory = take_inventory(sources, [f"{tmp_path}/"], OPTIONS)
    pq.write_table(table_of(5000, 70), next(tmp_path.rglob("part-00001*")))
    with pytest.raises(InputChanged):
        read_sample(sources, inventory, OPTIONS, draw(inventory))


def test_ten_thousand_files_on_s3(tmp_path, monkeypatch):
    """Of very many files some are looked into; with that, 2,000 documents cost less than 3 % of the input's bytes.

    Here every file is many times the same object, so that the test writes one: what counts is what is asked for.
    """
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = tmp_path / "bucket" / "data"
    folder.mkdir(parents=True)
    pq.write_table(table_of(0, 200), folder / "f00000.parquet", row_group_size=200)
    for number in range(1, 5000):
        (folder / f"f{number:05d}.parquet").hardlink_to(folder / "f00000.parquet")
    with RangeServer(tmp_path) as server:
        sources = Sources(server.options)
        frame = take_frame(sources, ["s3://bucket/data/"], OPTIONS)
        design = frame.draw(2000)
        found = read_sample(frame.sources, frame.inventory, OPTIONS, design)
        assert server.counts["bytes"] < 0.03 * frame.num_bytes
    assert not frame.is_whole
    assert frame.files == 5000
    assert frame.rows == pytest.approx(1_000_000, rel=0.01) == design.rows
    assert len(found.documents) == 2000
    assert found.scheme.weight.sum() == pytest.approx(design.rows)
    assert len(np.unique(found.documents.file)) > 25
    assert "were looked into" in design.notes[0]


def jsonl(folder, name, start, number, compress=False):
    lines = "".join(
        json.dumps({"id": f"d{row}", "text": f"text {row} " + "x" * 300}) + "\n" for row in range(start, start + number)
    ).encode()
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(gzip.compress(lines, 1) if compress else lines)


@pytest.mark.parametrize("compress", [False, True])
def test_large_files_without_an_index_are_read_in_part(tmp_path, monkeypatch, compress):
    """Their beginning stands for all of them; the row that is cut is not drawn, and nothing beyond the cut is asked for."""
    monkeypatch.setattr(sample_frame, "MIN_CLIPPED_BYTES", 1000 if compress else 20_000)
    for number in range(4):
        jsonl(tmp_path, f"f{number}.jsonl{'.gz' if compress else ''}", number * 2000, 2000, compress)
    sources = Sources()
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    bounds = Bounds(max_bytes=total // 4)
    frame = take_frame(sources, [f"{tmp_path}/"], OPTIONS, bounds=bounds)
    design = frame.draw(50, bounds=bounds)
    found = read_sample(frame.sources, frame.inventory, OPTIONS, design)
    assert frame.rows == pytest.approx(8000, rel=0.2)
    assert not design.is_census
    assert not found.wide_is_census
    assert len(found.documents) == 50
    assert found.damaged == {}
    assert max(int(name[1:]) % 2000 for name in found.wide.table["id"].to_pylist()) < 600
    assert any("only the beginning" in note for note in design.notes)


def test_a_frame_of_few_files_is_the_inventory(tmp_path):
    """All files are looked into, numbers are exact."""
    frame = take_frame(Sources(), [f"{write(tmp_path, 5)}/"], OPTIONS)
    assert (frame.is_whole, frame.rows, frame.groups, frame.files, frame.notes) == (True, 300, 15, 5, ())
    assert frame.inventory.fingerprint == take_inventory(Sources(), [f"{tmp_path}/"], OPTIONS).fingerprint


def test_a_frame_of_nothing_is_an_error(tmp_path):
    """As for any run."""
    with pytest.raises(InputError, match="no file"):
        take_frame(Sources(), [f"{tmp_path}/"], OPTIONS)
