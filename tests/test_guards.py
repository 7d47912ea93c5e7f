"""Guards as a run has them: what looks like false duplicates is told with examples or ends the run, whatever path the work takes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import SCHEMA, TINY, Document, Output, config_of, finished, pipeline, write_parquet

from operators.dedup import Guards
from operators.minhash import MinhashDedup
from pipelines.cli import main
from pipelines.funnel import warning_texts
from pipelines.guards import Breach, Findings, SourceCounts, breaches, heavy_keys, sentences
from pipelines.rows import Rows, UnitFiles
from pipelines.verdicts import Telling, removal_rows

pytestmark = pytest.mark.usefixtures("no_fsync")

WORDS = ("stone", "river", "cloud", "bread", "tree", "song", "light", "glass", "road", "house", "field", "table", "water", "winter")
CROWD = 100
FOLDER = 120
"""Documents of each source; those of one of them are mostly of a crowd."""
ALL = {"max_source_share", "max_removed_for", "max_key_share"}
KINDS = ("exact_dedup", "url_dedup", "minhash_dedup")


def document(number: int, *, is_crowd: bool, source: str | None) -> Document:
    """A document like no other, or one of a crowd that is alike in every way."""
    draw = random.Random("crowd" if is_crowd else number)
    text = " ".join(draw.choice(WORDS) for _ in range(30))
    url = "https://crowd.example/" if is_crowd else f"https://site{number}.example/"
    return {"id": f"d{number}", "text": text, "url": url, "score": 1.0, "lang": source}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two sources in folders of their own, one of which would lose 99 of its 120 documents for the one at place 7."""
    crowd = [document(number, is_crowd=7 <= number < 7 + CROWD, source=None) for number in range(FOLDER)]
    others = [document(FOLDER + number, is_crowd=False, source="other") for number in range(FOLDER)]
    write_parquet(tmp_path / "in" / "crowd" / "a.parquet", crowd[:50])
    write_parquet(tmp_path / "in" / "crowd" / "b.parquet", crowd[50:])
    write_parquet(tmp_path / "in" / "other" / "c.parquet", others)
    return tmp_path / "in"


def ran(corpus: Path, operator: Mapping[str, Any], guards: Mapping[str, Any], *, is_tiny: bool = False) -> Output:
    """A run of one operator with these guards; `finished` has it verified."""
    target = corpus.parent / ("tiny" if is_tiny else "out")
    execution = {"unit_bytes": 2000} if is_tiny else {}
    steps = [{**operator, "guards": guards}]
    sources = {"input": {"id_column": "id"}, "execution": execution}
    return finished(config_of(corpus.parent / "p.yaml", f"{corpus}/", target, steps, **sources), TINY if is_tiny else None)


def told(found: Output) -> dict[str, dict[str, Any]]:
    """What was warned of, by guard; each guard once."""
    warnings = {warned["guard"]: warned for warned in found.manifest["warnings"]}
    assert len(warnings) == len(found.manifest["warnings"])
    return warnings


@pytest.mark.parametrize("is_tiny", [False, True], ids=["at once", "tiny tasks"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_guard_warns_with_numbers_and_examples(corpus, kind, is_tiny):
    """A source that loses most of itself, a document that many go for, a key of many documents: in the manifest, for one task or many."""
    found = ran(corpus, {"type": kind}, {"max_removed_for": 50, "max_key_share": 0.2}, is_tiny=is_tiny)
    duplicates = found.table("duplicates")
    assert len(duplicates) == CROWD - 1
    crowd = {row[name].hex() for row in duplicates for name in ("doc_key", "kept_doc_key")}
    warnings, common = told(found), {"operator": kind}
    examples = warnings["max_key_share"]["examples"]
    assert set(examples) < crowd
    assert warnings == {
        "max_source_share": common
        | {
            "guard": "max_source_share",
            "subject": str(corpus / "crowd"),
            "found": pytest.approx((CROWD - 1) / FOLDER),
            "limit": 0.5,
            "documents": CROWD - 1,
            "examples": ["d8"],
        },
        "max_removed_for": common
        | {"guard": "max_removed_for", "subject": "d7", "found": 99, "limit": 50, "documents": 99, "examples": []},
        "max_key_share": common
        | {
            "guard": "max_key_share",
            "subject": "a key",
            "found": pytest.approx(CROWD / (2 * FOLDER)),
            "limit": 0.2,
            "documents": CROWD,
            "examples": examples,
        },
    }
    assert len(warning_texts(found.manifest)) == 3


@pytest.mark.parametrize(
    ("guards", "breached"),
    [
        ({}, {"max_source_share", "max_key_share"}),
        ({"max_source_share": None, "max_key_share": None}, set()),
        ({"max_source_share": 0.83, "max_removed_for": 99, "max_key_share": 0.42}, set()),
        ({"max_source_share": 0.82, "max_removed_for": 98, "max_key_share": 0.41}, ALL),
        ({"min_documents": 101}, {"max_source_share"}),
        ({"min_documents": 121}, set()),
        ({"min_documents": 241, "max_removed_for": 10}, {"max_removed_for"}),
        ({"max_source_share": 0, "max_removed_for": 0, "max_key_share": None}, {"max_source_share", "max_removed_for"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
@pytest.mark.parametrize("kind", ["exact_dedup", "minhash_dedup"])
def test_a_limit_is_passed_by_one_document_more_and_null_is_none(corpus, kind, guards, breached):
    """A share is of the documents that came, up to it and with it all is well; what is small is not judged by shares."""
    assert set(told(ran(corpus, {"type": kind}, guards))) == breached


@pytest.mark.parametrize("is_tiny", [False, True], ids=["at once", "tiny tasks"])
def test_what_is_only_marked_is_guarded_too(corpus, is_tiny):
    """Annotating tells beforehand what removing would do."""
    found = ran(corpus, {"type": "minhash_dedup", "annotate": True}, {"max_removed_for": 98}, is_tiny=is_tiny)
    assert found.manifest["ledger"]["dropped"] == {}
    assert set(told(found)) == ALL


def test_a_column_may_name_the_sources(corpus):
    """Sources are what the pipeline says they are; documents without one are a source too."""
    found = told(ran(corpus, {"type": "exact_dedup"}, {"source_column": "lang"}))
    assert (found["max_source_share"]["subject"], found["max_source_share"]["documents"]) == ("(null)", 99)
    assert set(told(ran(corpus, {"type": "exact_dedup", "name": "other"}, {"source_column": "id", "max_key_share": None}))) == set()


def status_of(corpus: Path, operators: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and standard error of the command."""
    file = pipeline(corpus.parent / "p.yaml", f"{corpus}/", corpus.parent / "out", operators)
    status = main(["run", str(file)])
    return status, capsys.readouterr().err


def test_a_breach_ends_the_run_where_the_pipeline_asks_for_it(corpus, capsys):
    """Nothing is published, the message says what was found and what to do, and with a higher limit the run goes on from there."""
    operator = {"type": "exact_dedup", "guards": {"on_breach": "fail", "max_key_share": None}}
    status, error = status_of(corpus, [operator], capsys)
    assert status == 1
    assert "operator exact_dedup: " in error
    assert f"{corpus}/crowd lost 99 documents, 82.5% of its own, such as " in error
    assert "guards.max_source_share is 50.0%" in error
    assert "raise the limit" in error
    assert not (corpus.parent / "out" / "manifest.json").exists()
    assert not list(corpus.parent.glob("out/data/**/*.parquet"))
    operator["guards"]["max_source_share"] = 0.9
    assert status_of(corpus, [operator], capsys)[0] == 0
    assert (corpus.parent / "out" / "manifest.json").exists()


def test_a_column_that_is_not_there_is_told_before_any_work(corpus, capsys):
    """The message names the setting, the column, and those that there are."""
    status, error = status_of(corpus, [{"type": "exact_dedup", "guards": {"source_column": "sauce"}}], capsys)
    assert status != 0
    assert "guards.source_column" in error
    assert "'sauce'" in error
    assert ", ".join(SCHEMA.names) in error


def test_a_column_without_names_is_told_before_any_work(corpus, capsys):
    """Values that cannot be told as names end the run when it is planned, not when all else is done."""
    table = pa.table({"id": ["a"], "text": ["some words"], "tags": [["x", "y"]]})
    target = corpus.parent / "tagged"
    target.mkdir()
    pq.write_table(table, target / "a.parquet")
    status, error = status_of(target, [{"type": "exact_dedup", "guards": {"source_column": "tags"}}], capsys)
    assert status != 0
    assert "guards.source_column: the column 'tags' is list" in error
    assert not (corpus.parent / "out" / "_shardmill" / "stages").exists()


def test_ids_that_repeat_hide_no_breach():
    """Two kept documents of one id are two: the most that were removed for either is told, in whatever order they come."""
    kept = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    keys = pa.array([bytes([number]) * 16 for number in range(3)], pa.binary(16)).take(pa.array(kept))
    ids = pa.array(["same", "same", "other"]).take(pa.array(kept))
    number = np.array([4, 2, 3])[kept]
    rows = removal_rows(np.arange(10, 19), keys, ids, np.ones(9, np.float32), number)
    for order in (range(9), reversed(range(9))):
        telling = Telling(MinhashDedup(guards=Guards(max_removed_for=1)), 4)
        for row in order:
            telling.add(rows.slice(row, 1))
        assert telling.detail() == {"stands": [[4, "same"], [3, "other"], [2, "same"]], "heavy": [[5, 10], [4, 16]]}


def test_many_keys_of_one_crowd_leave_room_for_others(monkeypatch):
    """Told of are crowds, not bands: what is told does not depend on how many of the bands a task has."""
    monkeypatch.setattr("pipelines.guards.MAX_TOLD", 2)
    sizes, places = np.array([9, 9, 8, 9, 5, 4, 3]), np.array([7, 7, 7, 7, 1, 2, 3])
    assert heavy_keys(sizes, places, 4) == [[9, 7], [5, 1]]
    assert heavy_keys(sizes[2:], places[2:], 4) == [[9, 7], [5, 1]]


@pytest.mark.parametrize("share", [1, 3, 10])
def test_a_column_of_too_many_sources_names_none(monkeypatch, share):
    """However units are cut: none is judged, and the driver holds few of them."""
    monkeypatch.setattr("pipelines.guards.MAX_SOURCES", 5)
    rows = Rows(pa.record_batch({"site": [f"s{number}" for number in range(10)]}), np.zeros(10, np.int64), np.arange(10))
    files = UnitFiles([], None)
    monkeypatch.setattr(files, "ids", lambda rows: pa.array(["an id"] * len(rows)))
    findings = Findings()
    for start in range(0, 10, share):
        counts = SourceCounts("site", files)
        chosen = (np.arange(10) >= start) & (np.arange(10) < start + share)
        counts.add(rows.filter(chosen), np.ones(chosen.sum(), np.bool_))
        findings.add_sources(counts.told())
    assert len(findings.sources) == 6
    assert not breaches(MinhashDedup(name="near", guards=Guards(min_documents=0)), findings, 10, {})


def test_breaches_of_one_kind_are_told_as_a_few():
    """Of many that a guard found the first are told, and how many more there are."""
    breach = Breach("x", "max_removed_for", "d", 2000, 1000, 2000, [])
    lines = sentences([breach.to_json()] * 12)
    assert len(lines) == 4
    assert "9 more passed guards.max_removed_for" in lines[-1]
