"""History: what a run keeps is what one run over all batches would have kept of its own, without the texts of earlier ones."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import prove
from history_made import BASES, EXACT, KINDS, NEAR, OF_DOCUMENTS, SCHEMA, TINY, Project, corpus, key_of, unnamed_files, write_batch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS

from operators import AnyOperator
from operators.exact_dedup import ExactDedup
from operators.line_dedup import LineDedup
from operators.minhash import MinhashDedup
from operators.paragraph_dedup import ParagraphDedup
from operators.passages import PassageRows, fold, merged
from operators.url_dedup import UrlDedup
from pipelines.config import load
from pipelines.errors import ConfigError, InputError
from pipelines.history import describe, generations_of, key_identities, keys_identity
from pipelines.history_adding import add_generation, write_table
from pipelines.partitioning import ROW_BITS
from pipelines.passage_grouping import _by_file
from pipelines.recall import read_generations, read_table
from pipelines.run import run
from pipelines.storage import MemoryStore, open_store
from pipelines.verify import verify

NUMBERS = itertools.count()
TEXTS = ["The same words, more or less.", "stone river cloud bread tree song light glass road 7", "Wörter, 文\n" + "A line of a page. " * 4]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No test here pulls a plug."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture
def project(shm_path):
    """Two batches, and a project over them that finds near-duplicates."""
    for number, name in enumerate("ab"):
        write_batch(shm_path / name, corpus(30, number, name))
    return Project(shm_path, KINDS["near"])


def in_batches(root, kind, limits, sizes, seed):
    """One run over all batches, and one a batch; only the history is left of the batches before the last."""
    names = "abcd"[: len(sizes)]
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        write_batch(root / name, corpus(size, seed + number, name))
    project = Project(root, KINDS[kind], limits)
    project.run("whole", list(names), alone=True)
    for number, name in enumerate(names):
        project.run(name, [name])
        project.prove(name)
        if kind in OF_DOCUMENTS or number == len(names) - 1:  # later lines do not change what was cut before
            assert project.kept(name) == project.kept("whole", name)
        if number < len(names) - 1:
            project.forget(name, f"out-{name}")
    assert unnamed_files(project.store) == []
    assert project.numbers() == [*range(1, len(names) + 1)]


@pytest.mark.parametrize("limits", [None, TINY], ids=["default", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_keep_what_one_run_over_all_keeps(kind, limits, shm_path):
    """For every operator, alone and with others, whatever path the exchange takes; every version verifies."""
    in_batches(shm_path, kind, limits, (26, 20, 24), seed=7)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*KINDS]), st.booleans(), st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(0, 2**20))
def test_any_batches_keep_what_one_run_over_all_keeps(kind, tiny, sizes, seed):
    """Batches of one document, batches of which nothing stays, and chains from batch to batch included."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder) as root:
        in_batches(Path(root), kind, TINY if tiny else None, sizes, seed)


@pytest.mark.parametrize("kind", ["exact", "near", "lines", "boilerplate"])
def test_files_that_are_read_again_do_not_count(kind, shm_path):
    """A run over a part of what an earlier run read, and more, is not compared with its own files, and is with the others."""
    for number, name in enumerate("abc"):
        write_batch(shm_path / name, corpus(24, 40 + number, name), files=3)
    for limits in (None, TINY):
        project = Project(shm_path, KINDS[kind], limits, history=str(shm_path / f"history-{limits is None}"))
        whole, first, second = (f"{name}-{limits is None}" for name in ("whole", "first", "second"))
        project.run(whole, ["a", "b", "c"], alone=True)
        project.run(first, ["a", "b"])
        project.run(second, ["b", "c"])
        project.prove(second)
        assert project.kept(second) == sorted(project.kept(whole, "b") + project.kept(whole, "c"))
        # A third one over all of it counts nobody but itself.
        project.run(f"{whole}-again", ["a", "b", "c"])
        assert project.kept(f"{whole}-again") == project.kept(whole)


# --- what is said of documents of earlier runs


@pytest.mark.parametrize("operator", [EXACT, NEAR], ids=["exact", "near"])
@pytest.mark.parametrize("ids", [(True, True), (True, False), (False, True)], ids=["both", "first", "second"])
@pytest.mark.parametrize("limits", [None, TINY], ids=["default", "tiny"])
def test_removed_documents_name_those_of_earlier_runs(operator, ids, limits, shm_path):
    """By doc_key, and by id where that run had ids; similarity and counts are of this run; the guards don't stumble over it."""
    rows = [{"id": f"old{number}", "text": f"{base} {number % 2}", "url": None, "lang": "en"} for number, base in enumerate(BASES)]
    new = [{"id": f"new{number}", "text": BASES[number % 4], "url": None, "lang": "en"} for number in range(120)]
    new += [{"id": f"own{number}", "text": "words of quite another kind " * 3, "url": None, "lang": "de"} for number in range(3)]
    if operator is EXACT:
        rows = [{**row, "text": base} for row, base in zip(rows, BASES, strict=True)]
    for name, batch, has_ids in (("a", rows, ids[0]), ("b", new, ids[1])):
        write_batch(shm_path / name, batch, files=1, schema=SCHEMA if has_ids else SCHEMA.remove(0))
    project = Project(shm_path, [{**operator, "num_duplicates": "copies", "guards": {"min_documents": 10}}], limits)
    project.run("a", ["a"])
    project.run("b", ["b"])
    project.prove("b")
    found = project.output("b").table("duplicates")
    named = {row["kept_doc_key"]: row for row in found}
    for number in range(4):
        row = named.pop(key_of(shm_path / "a" / "0.parquet", number))
        assert row["kept_id"] == (f"old{number}" if ids[0] else row["kept_doc_key"].hex())
        assert row["num_duplicates"] == 30
        assert row["similarity"] == 1 if operator is EXACT else 0.5 <= row["similarity"] < 1
    assert [row["num_duplicates"] for row in named.values()] == [2]
    assert [(row["text"][:5], row["copies"]) for row in project.output("b").rows()] == [("words", 2)]
    warned = {warning["guard"]: warning["subject"] for warning in project.output("b").manifest["warnings"]}
    assert "max_key_share" in warned


@pytest.mark.parametrize("operator", [EXACT, NEAR], ids=["exact", "near"])
def test_annotate_marks_what_one_run_over_all_marks(operator, shm_path):
    """With `annotate` all documents stay, and those that would go name the same kept ones."""
    for number, name in enumerate("ab"):
        write_batch(shm_path / name, corpus(30, 3 + number, name))
    project = Project(shm_path, [{**operator, "annotate": True}])
    project.run("whole", ["a", "b"], alone=True)
    project.run("a", ["a"])
    project.run("b", ["b"])
    project.prove("b")
    marks = [
        {row["id"]: None if row[operator["type"]] is None else row[operator["type"]]["kept_id"] for row in project.output(name).rows()}
        for name in ("b", "whole")
    ]
    assert len(marks[0]) == 30
    assert marks[0] == {name: kept for name, kept in marks[1].items() if name in marks[0]}
    assert any(kept is not None and kept.startswith("a") for kept in marks[0].values())


# --- again


def test_a_finished_run_does_nothing_whatever_others_left(project):
    """A run that is started again finds its output finished, also when a run over other files has left a generation meanwhile."""
    project.run("a", ["a"])
    project.run("b", ["b"])
    for name in ("a", "b"):
        before = project.output(name).manifest
        assert project.run(name, [name]).was_finished
        assert project.output(name).manifest == before
    assert project.numbers() == [1, 2]


def test_a_run_that_finished_before_it_left_its_keys_keeps_its_snapshot(project, monkeypatch):
    """If another run left a generation meanwhile, the version that is finished stays and leaves its keys, once."""
    monkeypatch.setattr("pipelines.run.Leaving.leave", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        project.run("a", ["a"])
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    project.run("b", ["b"])
    assert not project.run("a", ["a"]).was_finished
    assert project.output("a").manifest["version"] == "v1"
    assert project.run("a", ["a"]).was_finished
    assert project.numbers() == [1, 2]
    assert unnamed_files(project.store) == []


def test_the_same_output_again_is_no_duplicate_of_itself(project):
    """With more input files, or another threshold, an output keeps what it would keep without its own generations."""
    project.run("a", ["a"])
    project.run("a", ["a", "b"])
    assert project.output("a").manifest["version"] == "v2"
    project.run("whole", ["a", "b"], alone=True)
    assert project.kept("a") == project.kept("whole")
    changed = [{**NEAR, "threshold": 0.9}]
    project.run("a", ["a", "b"], operators=changed)
    project.run("changed", ["a", "b"], operators=changed, alone=True)
    assert project.kept("a") == project.kept("changed")
    assert len(project.kept("a")) > len(project.kept("whole"))


def test_what_was_dropped_before_is_kept_by_none(shm_path):
    """A batch of which an operator before the deduplication drops everything leaves nothing that others would be compared with."""
    rows = corpus(20, 5, "a")
    write_batch(shm_path / "a", rows)
    write_batch(shm_path / "b", [{**row, "id": f"b{number}"} for number, row in enumerate(rows)])
    project = Project(shm_path, [{"type": "filter_where", "where": "id < 'b'"}, EXACT])
    project.run("a", ["a"], operators=[{"type": "filter_where", "where": "id > 'b'"}, EXACT])
    assert project.run("b", ["b"], operators=[EXACT]).manifest["ledger"]["rows_out"] == len({row["text"].lower() for row in rows})


def test_what_an_output_does_not_keep_any_more_does_not_count(project):
    """The latest generation that has a file tells what was kept of it: documents that a new filter drops are no reason to remove others."""
    rows = [{**row, "id": f"x{number}"} for number, row in enumerate(corpus(30, 0, "a"))]
    write_batch(project.root / "x", rows)
    strict = [{"type": "length_filter", "min_chars": 60, "name": "short"}, {"type": "exact_dedup"}]
    loose = strict[1:]
    project.run("a", ["a"], operators=loose)
    project.run("a", ["a"], operators=strict)
    assert project.output("a").manifest["version"] == "v2"
    kept = project.run("x", ["x"], operators=loose).manifest["ledger"]["rows_out"]
    assert kept == len({row["text"] for row in rows if len(row["text"]) < 60}) > 0


def test_two_generations_at_the_same_moment_get_numbers_of_their_own(monkeypatch):
    """A run that listed before the other one's was there tries the next number."""
    store = MemoryStore(f"memory://history-{next(NUMBERS)}")
    monkeypatch.setattr("pipelines.history_adding.generations_of", lambda _store: [])
    paths = [add_generation(store, {"id": name}) for name in "abc"]
    monkeypatch.undo()
    assert paths == generations_of(store) == [f"generations/g0000{number}.json" for number in (1, 2, 3)]
    assert [body["id"] for body in read_generations(store, paths)] == ["a", "b", "c"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*(st.integers(0, 2) for _ in range(5))), max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_documents_of_each_file_are_counted_whatever_chunks_they_come_in(found, cuts):
    """A document whose occurrences of a passage lie in two chunks counts once."""
    found = sorted(found, key=lambda one: one[2:])  # (key_hi, key_lo), file, row, passage
    counted: Counter[tuple[int, ...]] = Counter()
    before = None
    for start, stop in itertools.pairwise(sorted({0, *cuts, len(found), max([*cuts, 0])})):
        some = sorted(found[start:stop])
        if not some:
            continue
        columns = np.array(some, np.int64).T
        rows = PassageRows(columns[0].astype(np.uint64), columns[1].astype(np.uint64), columns[2], columns[3], columns[4].astype(np.int32))
        for row in _by_file(rows, before).to_pylist():
            assert row["place"] & ((1 << ROW_BITS) - 1) == 0
            counted[row["key_hi"], row["key_lo"], row["place"] >> ROW_BITS] += row["documents"]
        before = fold(rows) if before is None else merged(before, fold(rows))
    assert counted == Counter(key[:3] for key in {one[:4] for one in found})


def test_a_run_leaves_its_keys_when_it_is_given_a_history_later(project):
    """A finished output whose pipeline gets a history makes no new version, but leaves its keys."""
    project.run("a", ["a"], alone=True)
    assert not project.run("a", ["a"]).was_finished
    assert project.output("a").manifest["version"] == "v1"
    assert project.numbers() == [1]
    project.run("whole", ["a", "b"], alone=True)
    project.run("b", ["b"])
    assert project.kept("b") == project.kept("whole", "b")


def test_another_history_is_not_mistaken_for_this_one(project):
    """Generations count by what is in them: a history elsewhere, or one that was begun anew, makes another version."""
    other = Project(project.root, project.operators, history=str(project.root / "other"))
    write_batch(project.root / "C", corpus(3, 99, "c"), files=1)
    other.run("c", ["C"])
    project.run("a", ["a"])
    compared = project.run("b", ["b"]).manifest
    again = other.run("b", ["b"]).manifest
    assert again["version"] == "v2"
    assert again["ledger"]["rows_out"] > compared["ledger"]["rows_out"]
    other.run("alone", ["C", "b"], alone=True)
    assert other.kept("b") == other.kept("alone", "b")


# --- what is refused


@pytest.mark.parametrize(
    ("operators", "says"),
    [
        ([{**NEAR, "shingle_size": 3}], "shingle_size is 3 here and 2 there"),
        ([{**NEAR, "max_candidates": 4}], "max_candidates is 4 here and 8 there"),
        ([{**NEAR, "within": ["lang"]}], "within is"),
        ([NEAR, NEAR], "has its keys for 1 of the operators that are set so"),
        ([EXACT], "has no keys of it, only those of minhash_dedup"),
        ([NEAR, {"type": "line_dedup"}], "has no keys of it"),
    ],
)
def test_operators_that_earlier_runs_had_not_are_refused(operators, says, project):
    """The message names the run whose keys do not fit, and nothing is written."""
    made = project.run("a", ["a"]).manifest
    with pytest.raises(ConfigError, match="use the same settings, or another history") as raised:
        project.run("b", ["b"], operators=operators)
    assert says in raised.value.message
    assert made["run_id"] in raised.value.message
    assert not (project.root / "out-b" / "manifest.json").exists()


@pytest.mark.parametrize("changes", [{"threshold": 0.6}, {"num_duplicates": "copies"}, {"annotate": True}, {"name": "other"}])
def test_settings_that_are_not_of_the_keys_may_differ(changes, project):
    """What is done with keys may change from run to run."""
    project.run("a", ["a"])
    project.run("b", ["b"], operators=[{**NEAR, **changes}])
    project.prove("b")


def test_presets_and_their_numbers_are_the_same(shm_path):
    """Bands and rows count, not how they were said."""
    assert keys_identity(MinhashDedup(preset="t50")) == keys_identity(MinhashDedup(bands=32, rows=5))
    assert keys_identity(MinhashDedup(preset="t50")) != keys_identity(MinhashDedup())


def test_operators_that_are_set_alike_have_keys_of_their_own():
    """Two of them in a pipeline see different texts."""
    assert len(set(key_identities([ExactDedup(), ExactDedup(), UrlDedup()]))) == 3


@pytest.mark.parametrize(
    ("operator", "line", "says"),
    [
        ("{type: exact_dedup, keep: longest}", 3, "keep is 'longest'"),
        ("{type: minhash_dedup, verify: exact}", 3, "verify is 'exact'"),
        ("{type: own:Dedup}", 3, "keeps no keys for later runs"),
    ],
)
def test_operators_that_cannot_remember_are_refused_at_their_line(operator, line, says, tmp_path):
    """`validate` says so before anything is read."""
    (tmp_path / "own.py").write_text(
        "from typing import Literal\nfrom operators.base import GroupOperator\nclass Dedup(GroupOperator):\n"
        '    """Own."""\n    type: Literal["dedup"] = "dedup"\n'
        "    def open(self, assets): return None\n    def decide(self, rows): return None\n"
    )
    file = tmp_path / "p.yaml"
    file.write_text(f"name: made\noperators:\n  - {operator}\ninput: {{uri: in/}}\noutput: {{uri: out}}\nhistory: keys\n")
    with pytest.raises(ConfigError, match=says) as raised:
        load(file)
    assert raised.value.message.startswith(f"{file}:{line}:")


@pytest.mark.parametrize(
    ("history", "says"), [("memory://keys", "memory of one process"), ("gs://bucket/keys", "exactly once"), ("keys/*", "pattern")]
)
def test_a_history_that_cannot_be_shared_is_refused_at_its_line(history, says, tmp_path):
    """The memory of one process under Ray, a store without conditional writes, a pattern."""
    file = tmp_path / "p.yaml"
    file.write_text(f"name: made\ninput: {{uri: in/}}\noutput: {{uri: out}}\nhistory: {history}\n")
    with pytest.raises(ConfigError, match=says) as raised:
        load(file)
    assert raised.value.message.startswith(f"{file}:4:")


# --- damage


@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
@pytest.mark.parametrize("what", ["generation", "files", "parts"])
def test_a_damaged_generation_stops_the_run(how, what, project):
    """The message names the history and the generation; without the generation the run goes on, and the others count."""
    project.run("a", ["a"])
    root = Path(project.store.uri)
    generation = root / "generations" / "g00001.json"
    path = generation if what == "generation" else next((root / "keys").rglob(f"{what}.*"))
    data = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(data[: len(data) // 2 if how == "cut" else 0])
    if (how, what) != ("gone", "generation"):
        with pytest.raises(InputError, match=r"g00001\.json cannot be read") as raised:
            project.run("b", ["b"])
        assert str(root) in raised.value.message
        generation.unlink()
    project.run("b", ["b"])
    project.run("alone", ["b"], alone=True)
    assert project.kept("b") == project.kept("alone")


# --- stores


def test_a_history_in_memory(project):
    """Runs of one process may share one in its memory, beside an output there."""
    name = f"memory://history-{next(NUMBERS)}"
    shared = Project(project.root, project.operators, history=name)
    shared.run("a", ["a"])
    shared.run("b", ["b"])
    shared.run("whole", ["a", "b"], alone=True)
    assert shared.kept("b") == shared.kept("whole", "b")
    assert isinstance(shared.store, MemoryStore)
    assert unnamed_files(shared.store) == []


def test_a_history_on_s3(project, s3_server):
    """Opened with output.storage_options, like the output beside it."""
    bucket = s3_server.make_bucket()
    changes = {"output": {"uri": f"s3://{bucket}/out", "storage_options": s3_server.options}, "history": f"s3://{bucket}/keys"}
    results = []
    for name in ("a", "b"):
        changes["output"] = {**changes["output"], "uri": f"s3://{bucket}/{name}"}
        results.append(run(project.config(name, [name], **changes)))
    project.run("whole", ["a", "b"], alone=True)
    assert sum(result.manifest["ledger"]["rows_out"] for result in results) == len(project.kept("whole"))
    assert [one["number"] for one in describe(open_store(f"s3://{bucket}/keys", s3_server.options))] == [1, 2]


def test_a_history_in_the_folder_of_the_output(project):
    """It may lie in the output itself, which still verifies and is swept without it."""
    inside = str(project.root / "out-a" / "_shardmill" / "history")
    shared = Project(project.root, project.operators, history=inside)
    shared.run("a", ["a"])
    shared.run("a", ["b"])
    prove(shared.output("a"))
    assert shared.numbers() == [1, 2]
    assert unnamed_files(shared.store) == []


# --- what outlives releases


def test_keys_are_those_of_every_release_before():
    """A history outlives releases. Where keys change, KEYS_VERSION must grow, so that old ones are refused, not compared."""
    urls = ["http://www.example.org/a?b=1&utm_source=x#c", None, "https://bücher.example/ "]
    batch = pa.RecordBatch.from_pydict({"text": pa.array(TEXTS, pa.large_string()), "url": urls})
    made: list[AnyOperator] = [ExactDedup(normalize="words"), UrlDedup(), MinhashDedup(), LineDedup(), ParagraphDedup()]
    found = {operator.type: digest_of(operator.open(ASSETS)(batch)) for operator in made}
    assert found == {
        "exact_dedup": "c0c65e77c60d",
        "url_dedup": "994a29145a67",
        "minhash_dedup": "24194f3b523b",
        "line_dedup": "f4131ce3d8d8",
        "paragraph_dedup": "d2d4111571d2",
    }


def digest_of(batch):
    return sha256(repr(batch.to_pylist()).encode()).hexdigest()[:12]


# --- verify


def test_a_kept_document_that_no_earlier_run_has_read_is_found(project):
    """`verify` asks the history which files there were; where it cannot, it says that it could not."""
    project.run("a", ["a"])
    project.run("b", ["b"])
    root = project.root / "out-b"
    found = {check.name: check for check in verify(str(root)).checks}
    assert found["history"].checked
    (body,) = read_generations(project.store, ["generations/g00001.json"])
    write_table(project.store, body["files"], read_table(project.store, "", body["files"]).slice(1))
    failed = [check for check in verify(str(root)).checks if not check.ok]
    assert {check.name for check in failed} == {"duplicates"}
    assert "not in the inventory, nor in what earlier runs have read" in failed[0].message
    shutil.rmtree(project.root / "history")
    verification = verify(str(root))
    assert verification.ok
    assert [check.name for check in verification.checks if not check.checked] == ["history"]


def test_without_earlier_runs_the_kept_documents_are_the_run_s_own(project):
    """The first run of a history is verified as one without: it names nobody elsewhere."""
    project.run("a", ["a"])
    manifest = project.output("a").manifest
    assert manifest["input"]["history"] == {"generations": [], "tombstones": []}
    assert "history" not in {check.name for check in verify(str(project.root / "out-a")).checks}
    project.run("b", ["b"])
    assert project.output("b").manifest["input"]["history"]["generations"] == ["generations/g00001.json"]
