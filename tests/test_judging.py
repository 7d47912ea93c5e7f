"""What verdicts on documents leave: marks instead of removals, counts of duplicates, and columns that are nobody else's."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import TINY, Output, config_of, documents, finished, pipeline, write_parquet
from test_guards import KINDS

from pipelines.cli import main

pytestmark = pytest.mark.usefixtures("no_fsync")

LIMITS = pytest.mark.parametrize("limits", [None, TINY], ids=["at once", "tiny tasks"])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Documents of which many are alike, all with ids of their own."""
    for number in range(2):
        rows = documents(110, seed=number)
        write_parquet(tmp_path / "in" / f"{number}.parquet", [{**row, "id": f"{number}-{at}"} for at, row in enumerate(rows)])
    return tmp_path / "in"


def ran(corpus: Path, name: str, operators: list[dict[str, Any]], limits: Any = None) -> Output:
    """A run whose exchange is bounded, or not; `finished` has it verified."""
    sections = {"input": {"id_column": "id"}, "execution": {"unit_bytes": 3000} if limits is not None else {}}
    return finished(config_of(corpus.parent / "p.yaml", f"{corpus}/", corpus.parent / name, operators, **sections), limits)


def removed(found: Output, operator: str) -> dict[str, tuple[str, bytes, float, int]]:
    """What the table of duplicates says of each document that an operator removed."""
    rows = [row for row in found.table("duplicates") if row["operator"] == operator]
    return {row["id"]: (row["kept_id"], row["kept_doc_key"].hex(), row["similarity"], row["num_duplicates"]) for row in rows}


def marked(found: Output, column: str) -> dict[str, tuple[str, bytes, float, int]]:
    """What a column of marks says of each document that it marks."""
    names = ("kept_id", "kept_doc_key", "similarity", "num_duplicates")
    return {row["id"]: tuple(row[column][name] for name in names) for row in found.rows() if row[column] is not None}


@LIMITS
@pytest.mark.parametrize("kind", KINDS)
def test_annotate_marks_what_would_be_removed(corpus, kind, limits):
    """Every document stays, and those that would go name the same kept one as in the table of duplicates."""
    gone = ran(corpus, "removing", [{"type": kind, "name": "alike"}])
    marks = ran(corpus, "marking", [{"type": kind, "name": "alike", "annotate": True}], limits)
    assert marks.manifest["ledger"]["dropped"] == {}
    assert marks.manifest["ledger"]["rows_out"] == marks.manifest["ledger"]["rows_in"]
    assert marks.table("duplicates") == []
    assert removed(gone, "alike")
    assert marked(marks, "alike") == removed(gone, "alike")
    (column,) = [field for field in marks.manifest["schema"] if field["name"] == "alike"]
    assert column["type"] == "struct<kept_id: string, kept_doc_key: string, similarity: float, num_duplicates: int64>"


@LIMITS
@pytest.mark.parametrize("annotate", [False, True], ids=["removing", "marking"])
@pytest.mark.parametrize("kind", KINDS)
def test_kept_documents_say_for_how_many_they_stand(corpus, kind, annotate, limits):
    """The column counts what went for a document, 0 for all others, which is what up-sampling multiplies by."""
    wanted = Counter(kept for kept, *_ in removed(ran(corpus, "plain", [{"type": kind}]), kind).values())
    found = ran(corpus, "counting", [{"type": kind, "num_duplicates": "copies", "annotate": annotate}], limits)
    counts = {row["id"]: row["copies"] for row in found.rows("id", "copies")}
    assert {name: number for name, number in counts.items() if number} == wanted
    assert sum(counts.values()) == (220 - len(counts) if not annotate else sum(wanted.values()))
    assert {field["name"]: field["type"] for field in found.manifest["schema"]}["copies"] == "int64"


@LIMITS
def test_group_operators_follow_each_other(corpus, limits):
    """One that marks in front changes nothing for those behind it; each gets what the one before gave, and marks go with the documents."""
    steps: list[dict[str, Any]] = [
        {"type": "exact_dedup", "name": "seen", "annotate": True, "num_duplicates": "copies"},
        {"type": "exact_dedup", "name": "exact_dedup"},
        {"type": "minhash_dedup", "shingle_size": 2, "threshold": 0.5},
        {"type": "url_dedup", "num_duplicates": "of_url"},
        {"type": "length_filter", "min_chars": 3},
    ]
    found = ran(corpus, "all", steps, limits)
    plain = ran(corpus, "three", [*steps[1:3], {"type": "url_dedup"}, steps[4]])
    assert [row["id"] for row in found.rows("id")] == [row["id"] for row in plain.rows("id")]
    for name in ("exact_dedup", "minhash_dedup", "url_dedup"):
        assert removed(found, name) == removed(plain, name) != {}
    assert marked(found, "seen") == {}  # exact_dedup removed just those
    copies = {row["id"]: row["copies"] for row in found.rows("id", "copies")}
    removed_for = Counter(kept for kept, *_ in removed(plain, "exact_dedup").values())
    assert copies == {name: removed_for[name] for name in copies}


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ({"type": "exact_dedup", "name": "lang", "annotate": True}, ("operator 'lang'", "column 'lang' already", "another `name`")),
        ({"type": "minhash_dedup", "num_duplicates": "url"}, ("operator 'minhash_dedup'", "column 'url' already", "`num_duplicates`")),
    ],
    ids=["mark", "count"],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_column_that_is_taken_is_told_before_any_work(corpus, capsys, command, operator, words):
    """The documents' own columns are never overwritten; the message says what to change."""
    file = pipeline(corpus.parent / "p.yaml", f"{corpus}/", corpus.parent / "out", [operator])
    assert main([command, str(file)]) != 0
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (corpus.parent / "out" / "_shardmill" / "stages").exists()


def test_two_operators_cannot_add_one_column(corpus, capsys):
    """A count that another operator writes is taken as well."""
    steps = [{"type": "exact_dedup", "num_duplicates": "copies"}, {"type": "url_dedup", "num_duplicates": "copies"}]
    file = pipeline(corpus.parent / "p.yaml", f"{corpus}/", corpus.parent / "out", steps)
    assert main(["run", str(file)]) != 0
    assert "operator 'url_dedup': the documents have a column 'copies' already" in capsys.readouterr().err


@LIMITS
def test_an_operator_reads_what_one_before_it_adds(corpus, limits):
    """A column that a group operator adds is there for the next one, which then has a stage of its own."""
    counts = {"type": "exact_dedup", "num_duplicates": "copies"}
    found = ran(corpus, "counted", [counts, {"type": "minhash_dedup", "keep": "highest", "by": "copies", "threshold": 0.3}], limits)
    assert [operator["name"] for operator in found.manifest["operators"]] == ["exact_dedup", "minhash_dedup"]
    assert {"copies"} <= {field["name"] for field in found.manifest["schema"]}
    assert removed(found, "minhash_dedup")
