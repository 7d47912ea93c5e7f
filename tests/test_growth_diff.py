"""`diff` between any two versions of an output that grew says what came and went over all that they are made of."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from growing import ALL, Growing, batches
from grown import grow, ids, take
from history_made import KINDS, key_of

from pipelines.cli import main
from pipelines.difference_documents import DocumentsDifference, compare_documents
from pipelines.difference_versions import open_version

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """v1 to v4 ingested, v5 without two documents, v6 ingested, v7 made anew of all files; beside it one run over all of the first four."""
    made = grow(tmp_path_factory.mktemp("history"), ALL, files=4)
    made.run(made.root / "whole")
    take(made, [ids(made)[0], ids(made)[-1]])
    made.arrives("g", batches(1, seed=31)[0])
    made.ingest()
    made.operators = [*ALL, {"type": "length_filter", "name": "long", "min_chars": 150}]
    made.ingest(backfill=True)
    return made


def compared(made: Growing, old: str, new: str) -> DocumentsDifference:
    return compare_documents(*(open_version(f"{made.target}@{one}").finished for one in (old, new)))


PAIRS = [
    ("v1", "v2"),
    ("v1", "v4"),
    ("v4", "v1"),
    ("v4", "v5"),
    ("v1", "v5"),
    ("v5", "v6"),
    ("v2", "v6"),
    ("v6", "v7"),
    ("v7", "v3"),
    ("v3", "v3"),
]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_came_and_went_is_what_sets_say(old, new, history):
    """By doc_key, from inventories and tables of all versions that each is made of."""
    found = compared(history, old, new)
    before, after = (keys(history, one) for one in (old, new))
    assert found.by == "doc_key", found.because
    counts = found.counts
    assert (counts.old, counts.new) == (len(before), len(after))
    assert (counts.removed, counts.added, counts.both) == (len(before - after), len(after - before), len(before & after))
    assert sum(number for _, number in counts.removed_by) == counts.removed
    assert {one.doc_key for one in found.removed} <= before - after
    assert {one.doc_key for one in found.added} <= after - before
    assert len(found.added) == min(5, counts.added)


def keys(made: Growing, version: str) -> set[str]:
    """The doc_keys of a version's documents, found by their ids and texts."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(made.input.iterdir()):
        for row, one in enumerate(pq.read_table(path).to_pylist()):
            found[one["id"], one["text"]] = key_of(path, row).hex()
    output = made.output()
    manifest = made.manifest(version)
    rows = type(output)(output.root, manifest).rows("id", "text")
    return {found[row["id"], row["text"]] for row in rows}


def test_why_documents_are_not_there(history):
    """A later version's files, and what a takedown and another pipeline did."""
    causes = {(one.what, one.operator): number for one, number in compared(history, "v1", "v4").counts.added_by}
    assert set(causes) == {("only_file", "")}
    assert [(one.what, one.operator, number) for one, number in compared(history, "v4", "v5").counts.removed_by] == [
        ("dropped", "takedown", 2)
    ]
    assert ("dropped", "long") in {(one.what, one.operator) for one, _ in compared(history, "v6", "v7").counts.removed_by}


def test_numbers_are_of_the_whole_lineage(history, capsys):
    """What was read, dropped and removed as duplicates over all versions, not by the last ingestion alone."""
    assert main(["diff", f"{history.target}@v1", f"{history.target}@v4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    numbers = told["numbers"]
    assert numbers["rows_in"] == {"old": 12, "new": 48}
    assert numbers["input_files"] == {"old": 1, "new": 4}
    whole = json.loads((history.root / "whole/manifest.json").read_text())
    for name, table in (("dropped", "dropped"), ("duplicates", "duplicates"), ("quarantined", "quarantine")):
        assert numbers[name]["new"] == whole["tables"][table]["rows"]
    assert told["lineage"] == "descendant"
    assert told["operators"] == []
    assert main(["diff", f"{history.target}@v4", f"{history.target}@v1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lineage"] == "ancestor"


def test_one_run_over_all_has_the_same_documents(history, capsys):
    """Another output, made of all files at once: nothing was added or removed, and the ledgers are the same."""
    assert main(["diff", f"{history.target}@v4", str(history.root / "whole"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counts = told["documents"]
    assert (counts["by"], counts["removed"], counts["added"], counts["both"]) == ("doc_key", 0, 0, counts["old"])
    assert told["dropped"] == told["operators"] == told["breakdowns"][0]["lines"] == []
    assert {
        number["old"] == number["new"] for name, number in told["numbers"].items() if name in ("rows_in", "dropped", "input_files")
    } == {True}


def test_a_file_that_could_be_read_only_later_counts_once(shm_path):
    """Its documents are of a file that the other version could not read: they were added, and its first try is no file beside it."""
    made = Growing(shm_path, KINDS["exact"], {"execution": {"max_quarantined_fraction": 0.9}})
    one, two = batches(2)
    made.arrives("a", one)
    (made.input / "b.parquet").write_bytes(b"PAR1 half of an upload")
    made.ingest()
    made.arrives("b", two)
    made.ingest()
    found = compared(made, "v1", "v2")
    assert found.by == "doc_key", found.because
    assert found.counts.new == found.counts.both + found.counts.added + found.counts.changed[1]
    made.run(made.root / "whole")
    versions = open_version(str(made.target)).finished, open_version(str(made.root / "whole")).finished
    same = compare_documents(*versions)
    assert (same.by, same.counts.removed, same.counts.added, same.counts.changed_files) == ("doc_key", 0, 0, 0)


def test_a_base_that_is_gone_is_told(history, capsys):
    """The message names the manifest, and what to do."""
    path = history.target / "versions/v2/manifest.json"
    content = path.read_bytes()
    path.unlink()
    try:
        assert main(["diff", f"{history.target}@v1", f"{history.target}@v4"]) == 1
        assert "versions/v2/manifest.json: it is missing, but v3 has the shards of v2" in capsys.readouterr().err
    finally:
        path.write_bytes(content)
