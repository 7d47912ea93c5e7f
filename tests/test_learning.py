"""Operators that learn: the sample is what a plain reference takes, and neither machine nor sizes nor kills show in what is learned."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from changing import everything
from corpora import (
    TINY,
    Output,
    config_of,
    differences,
    documents,
    files_of,
    finished,
    output_of,
    records,
    write_jsonl,
    write_parquet,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import drive, identity
from pipelines.commit import PLAN, unsealed
from pipelines.config import load
from pipelines.errors import ConfigError, UnitError
from pipelines.exchange import Limits
from pipelines.lots import LEAST_BYTES, Tallies, Tally, cut, draw, taken, weights
from pipelines.run import run
from pipelines.status import render_status, status
from pipelines.survey import render, survey
from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")

EXECUTION = {"max_quarantined_fraction": 0.1, "unit_bytes": "8KiB", "batch_bytes": "2KiB", "seed": 5}

RECORDER = '''
"""An operator that learns the sample itself, so that a test can look at it."""

import json
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from operators.base import BatchOperator, LearningOperator, Result, text_of


class Recorder(LearningOperator):
    """Write down the lessons in their order."""

    FILE = "lessons.json"
    type: Literal["recorder"] = "recorder"
    sample_bytes: int = 3000
    max_document_bytes: int = 100
    mark: str = ""

    def open(self, assets):
        return lambda batch: text_of(batch, assets.text_column)

    def learn(self, lessons):
        return json.dumps([self.mark, [text for some in lessons for text in some.to_pylist()]]).encode()


class Knower(BatchOperator):
    """Add a column with the number of lessons that an operator before it has had."""

    type: Literal["knower"] = "knower"
    knows: str = "own:Recorder"

    def learnable(self):
        return {"knows": "nowhere"}

    def asset_uris(self):
        return ("nowhere",)

    def open(self, assets):
        learned = assets.learned(self.knows)
        lessons = 0
        if learned.path is not None:
            with open(learned.path) as file:
                lessons = len(json.load(file)[1])

        def add(batch):
            return Result(batch.append_column("lessons", pa.array([lessons] * batch.num_rows, pa.int64())))

        return add
'''


# --- the sample


def reference(given, seed, sample_bytes, most):
    """The texts of (doc_key, text) that are in a sample, by plain numbers."""
    weighed = []
    for key, text in given:
        data = (text or "").encode()
        if data:
            kept = data[:most].decode(errors="ignore") if len(data) > most else text
            lot = finalized(finalized(finalized(seed) ^ int.from_bytes(key[:8], "big")) ^ int.from_bytes(key[8:], "big"))
            weighed.append((lot, key, max(len(kept.encode()), 64), kept))
    chosen, total = [], 0
    for _, _, weight, kept in sorted(weighed):
        total += weight
        if total > sample_bytes:
            break
        chosen.append(kept)
    return chosen


def finalized(value):
    """splitmix64's step and finalizer."""
    value = (value + 0x9E3779B97F4A7C15) % (1 << 64)
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    value = (value ^ value >> 27) * 0x94D049BB133111EB % (1 << 64)
    return value ^ value >> 31


texts = st.one_of(st.none(), st.text(max_size=30), st.text("aä文😀", min_size=20, max_size=120))
units = st.lists(st.lists(st.lists(texts, min_size=1, max_size=6), max_size=4), max_size=6)


@settings(max_examples=150, deadline=None)
@given(units, st.integers(0, 2**63 - 1), st.integers(64, 3000), st.integers(64, 200))
def test_tallies_bound_the_sample_from_below(made, seed, sample_bytes, most):
    """However documents lie in units and frames: those in the frames and above the bound that tallies tell hold the whole sample."""
    sample_bytes = max(sample_bytes, most)
    tallies, frames, everything_given = Tallies(), {}, []
    for position, unit in enumerate(made):
        tally = Tally(most, seed)
        for number, frame in enumerate(unit):
            keys = [hashlib.sha256(f"{position} {number} {row}".encode()).digest()[:16] for row in range(len(frame))]
            lessons = pa.array(frame, pa.large_string())
            tally.add(pa.array(keys, identity.DOC_KEY), lessons)
            frames[position, number] = (pa.array(keys, identity.DOC_KEY), lessons)
            everything_given += zip(keys, frame, strict=True)
        tallies.add(json.loads(json.dumps(tally.told())) if unit else None)
    expected = reference(everything_given, seed, sample_bytes, most)
    assert tallies.is_empty == (not expected)
    least = tallies.least_zeros(sample_bytes)
    found = []
    for position, numbers in tallies.frames(least):
        for number in numbers:
            keys, lessons = frames[position, number]
            drawn = draw(keys, seed)
            low = (drawn.zeros >= least) & (weights(lessons, most) > 0)
            kept = cut(lessons.filter(pa.array(low)), most)
            found += zip(*(words[low].tolist() for words in drawn), kept.to_pylist(), strict=True)
    found.sort()
    weight = weights(pa.array([text for *_, text in found], pa.large_string()), most)
    assert [text for *_, text in found][: taken(weight, sample_bytes)] == expected
    if least:
        assert weight.sum() >= sample_bytes


def test_lots_are_even_and_zeros_exact():
    """Half of the lots have a leading zero, a quarter two …, and the count of zeros is right up to the last bit."""
    keys = identity.doc_keys([bytes(10)], np.zeros(100_000, np.int64), np.arange(100_000))
    drawn = draw(keys, 1)
    assert len(np.unique(drawn.lot)) == 100_000
    for zeros in range(6):
        assert np.count_nonzero(drawn.zeros >= zeros) == pytest.approx(100_000 / 2**zeros, rel=0.05)
    edges = np.array([0, 1, 2, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 64) - 1, (1 << 63) - 1, (1 << 32) - 1, 1 << 32], np.uint64)
    assert drawn._replace(lot=edges).zeros.tolist() == [64 - int(edge).bit_length() for edge in edges]
    assert not (draw(keys, 2).lot == drawn.lot).any()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=90), max_size=8), st.integers(LEAST_BYTES, 100), st.integers(0, 3))
def test_texts_are_cut_at_characters(made, most, start):
    """What is left of a text is its longest beginning that fits, whatever slice of a column it stands in."""
    found = cut(pa.array(made, pa.large_string()).slice(start), most)
    found.validate(full=True)
    assert found.to_pylist() == [text.encode()[:most].decode(errors="ignore") for text in made[start:]]


# --- whole runs


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Documents without ids, so that the output has their doc_keys."""
    folder = tmp_path_factory.mktemp("corpus") / "in"
    schema = pa.schema([("text", pa.large_string()), ("lang", pa.string())])
    for number in range(4):
        write_parquet(folder / f"f{number}.parquet", documents(90 + 7 * number, seed=number), schema=schema)
    lines = [{"text": row["text"], "lang": row["lang"]} for row in documents(40, seed=9)]
    write_jsonl(folder / "g.jsonl", [*lines, {"text": None, "lang": "en"}, b'{"text": "no end'])
    return folder


def operators(**recorder):
    return [
        {"type": "length_filter", "min_chars": 2},
        {"type": "exact_dedup"},
        {"type": "own:Recorder", **recorder},
        {"type": "own:Knower"},
    ]


def made(folder, source, name="out", steps=None, **sections):
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text(RECORDER)
    sections["execution"] = {**EXECUTION, **sections.get("execution", {})}
    sections["input"] = {"id_column": None, **sections.get("input", {})}
    return config_of(folder / f"{name}.yaml", sections.pop("uri", f"{source}/"), folder / name, steps or operators(), **sections)


def lessons(found: Output, name="own:Recorder"):
    (entry,) = [entry for entry in found.manifest["learned"] if entry["operator"] == name]
    data = (found.root / entry["path"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    said = json.loads(data)[1]
    assert (len(said), sum(len(text.encode()) for text in said)) == (entry["documents"], entry["sample_bytes"])
    return said


@pytest.mark.parametrize("sample_bytes", [100, 700, 3000, 20_000, 1_000_000])
def test_the_sample_is_what_a_plain_reference_takes(source, tmp_path, sample_bytes):
    """Of the documents that reach the operator the lowest lots, as many as fit; and the file is there for those after it."""
    found = finished(made(tmp_path, source, steps=operators(sample_bytes=sample_bytes)))
    reached = [(bytes.fromhex(row["id"]), row["text"]) for row in found.rows("id", "text")]
    expected = reference(reached, EXECUTION["seed"], sample_bytes, 100)
    assert lessons(found) == expected
    assert 0 < len(expected) <= len(reached)
    assert {row["lessons"] for row in found.rows("lessons")} == {len(expected)}
    entries = {entry["name"]: entry for entry in found.manifest["operators"]}
    assert entries["own:Recorder"]["rows_in"] == entries["own:Recorder"]["rows_out"] == entries["exact_dedup"]["rows_out"] == len(reached)
    assert entries["own:Recorder"]["seconds"] > 0


def test_another_seed_draws_another_sample(source, tmp_path):
    """The seed of the execution decides it."""
    one, other = (finished(made(tmp_path, source, f"s{seed}", execution={"seed": seed})) for seed in (1, 2))
    assert lessons(one) != lessons(other)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        finished(made(folder, source))
    return folder


@pytest.mark.parametrize(
    "execution",
    [{"batch_bytes": "1KiB"}, {"unit_bytes": "3KiB"}, {"unit_bytes": "auto", "batch_bytes": "16MiB"}, {"keep_intermediates": "latest"}],
    ids=str,
)
def test_sizes_change_no_byte(undisturbed, source, execution):
    """Nor what is learned: batches and units of other sizes give the same files."""
    name = "-".join(map(str, (*execution, *execution.values())))
    finished(made(undisturbed, source, name, execution=execution), TINY)
    assert differences(files_of(undisturbed / "out"), files_of(undisturbed / name)) == []


def test_the_order_of_the_list_changes_no_byte(undisturbed, source):
    """Files named one by one, backwards, give the same sample."""
    names = sorted((str(path) for path in source.rglob("*.*")), reverse=True)
    finished(made(undisturbed, source, "backwards", uri=names))
    assert differences(files_of(undisturbed / "out"), files_of(undisturbed / "backwards")) == []


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.chaos
def test_workers_change_no_byte(undisturbed, source, connected, workers, monkeypatch):
    """One and two workers on Ray learn the same."""
    monkeypatch.setattr(drive, "TASKS_A_SLOT", 1)
    name = f"ray-{workers}"
    finished(made(undisturbed, source, name, cluster={"type": "local", "num_cpus": workers}), Limits(task_bytes=16 << 10))
    assert differences(files_of(undisturbed / "out"), files_of(undisturbed / name)) == []


def test_operators_learn_of_what_is_left_at_their_place(source, tmp_path):
    """Before a filter, behind one, behind one that learns, and at the end of the pipeline: each has the documents of its place."""
    steps = [
        {"type": "own:Recorder", "name": "first", "sample_bytes": 1_000_000},
        {"type": "length_filter", "min_chars": 40},
        {"type": "own:Recorder", "name": "second", "sample_bytes": 1_000_000},
        {"type": "own:Recorder", "name": "third", "sample_bytes": 1_000_000, "max_document_bytes": 64},
        {"type": "exact_dedup"},
        {"type": "own:Knower", "knows": "second"},
        {"type": "own:Recorder", "name": "last", "sample_bytes": 1_000_000},
    ]
    found = finished(made(tmp_path, source, steps=steps))
    counts = {entry["name"]: entry["rows_in"] for entry in found.manifest["operators"]}
    learned = {name: lessons(found, name) for name in ("first", "second", "third", "last")}
    assert [entry["operator"] for entry in found.manifest["learned"]] == list(learned)
    assert len(learned["first"]) > len(learned["second"]) == len(learned["third"]) == counts["second"] > len(learned["last"])
    assert sorted(learned["last"]) == sorted(text.encode()[:100].decode(errors="ignore") for text in found.texts())
    assert min(map(len, learned["second"])) >= 40 > min(map(len, learned["first"]))
    assert max(len(text.encode()) for text in learned["third"]) == 64
    assert {row["lessons"] for row in found.rows("lessons")} == {len(learned["second"])}


def test_without_a_text_there_is_one_clear_error(tmp_path):
    """Of no documents, and of empty ones, nothing can be learned; the run says so and what to look at."""
    write_parquet(tmp_path / "in" / "a.parquet", [{"id": "1", "text": ""}], schema=pa.schema([("id", pa.string()), ("text", pa.string())]))
    with pytest.raises(UnitError, match=r"'own:Recorder': no document with text reached it.*drops"):
        run(made(tmp_path, tmp_path / "in", steps=[{"type": "own:Recorder"}]))


def test_the_tokenizer_of_a_version_gives_the_same_ids_elsewhere(source, tmp_path):
    """The folder in the version is a tokenizer for another pipeline; ids decode to the text; its parts are gone, the file is not."""
    from tokenizers import Tokenizer

    trained = [{"type": "train_tokenizer", "vocab_size": 400, "name": "ours"}, {"type": "tokenize", "tokenizer": "ours"}]
    by_name = finished(made(tmp_path, source, "a", trained))
    folder = by_name.folder / "learned" / "ours"
    by_path = finished(made(tmp_path, source, "b", [{"type": "tokenize", "tokenizer": str(folder)}]))
    columns = ("text", "input_ids", "num_tokens")
    rows = by_name.rows(*columns)
    assert rows == by_path.rows(*columns)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [tokenizer.decode(row["input_ids"], skip_special_tokens=False) for row in rows] == [row["text"] for row in rows]
    assert "learned" not in by_path.manifest
    assert not list((by_name.root / "_shardmill" / "parts").rglob("*.learned"))


# --- resuming


def attempts(root):
    """The attempt of every piece of work of the latest plan's stages: (number of the stage, kind) to its attempts."""
    stages = [entry["fingerprint"] for entry in unsealed((root / PLAN).read_bytes())["stages"]]
    found = {}
    for stage, body in records(root):
        if stage in stages:
            found.setdefault((stages.index(stage), body["kind"]), set()).add(body["attempt"])
    return found


def test_another_way_to_learn_finds_the_sample_and_redoes_what_comes_after(source, tmp_path):
    """A changed setting that is not about the sample learns anew from what is committed; `plan` says so, and why."""
    kept = {"execution": {"keep_intermediates": "latest"}}
    first = finished(made(tmp_path, source, **kept))
    before = attempts(tmp_path / "out")
    config = made(tmp_path, source, steps=operators(mark="x"), **kept)
    found = survey(config)
    assert [stage.committed for stage in found.stages] == [found.stages[0].units, found.stages[0].units, 0]
    assert "  runs because learned[own:Recorder].settings.mark: " in "\n".join(render(found))
    second = finished(config)
    after = attempts(tmp_path / "out")
    assert {key: value for key, value in after.items() if key[0] == 0} == {key: value for key, value in before.items() if key[0] == 0}
    assert after[1, "unit"] == before[1, "unit"]
    assert after[1, "sample"] == before[1, "sample"]
    assert after[1, "learn"] > before[1, "learn"]
    assert not after[2, "unit"] & before[2, "unit"]
    assert lessons(second) == lessons(first)
    assert second.manifest["version"] == "v2"
    assert (first.folder / "learned").exists()


def test_more_of_the_sample_reads_no_document_of_the_input_again(source, tmp_path):
    """A larger sample is drawn from the same units; a changed operator before it draws anew, and everything behind it follows."""
    kept = {"execution": {"keep_intermediates": "latest"}}
    finished(made(tmp_path, source, **kept))
    before = attempts(tmp_path / "out")
    finished(made(tmp_path, source, steps=operators(sample_bytes=20_000), **kept))
    after = attempts(tmp_path / "out")
    assert after[0, "unit"] == before[0, "unit"]
    assert after[1, "unit"] == before[1, "unit"]
    steps = operators(sample_bytes=20_000)
    steps[0]["min_chars"] = 30
    changed = finished(made(tmp_path, source, steps=steps, **kept))
    assert min(map(len, lessons(changed))) >= 30
    assert not attempts(tmp_path / "out")[1, "unit"] & after[1, "unit"]


def test_a_document_of_one_unit_changes_the_ids_of_all(tmp_path):
    """Units that did not change are done again where they use what is learned, and only there."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    for name in "abc":
        write_parquet(
            tmp_path / "in" / f"{name}.parquet", [{"id": f"{name}{n}", "text": f"{name} {n} " * 5} for n in range(20)], 20, schema
        )
    steps = [{"type": "own:Recorder", "sample_bytes": 100_000}, {"type": "own:Knower"}]
    config = made(
        tmp_path, tmp_path / "in", steps=steps, execution={"keep_intermediates": "latest", "unit_bytes": "1KiB", "batch_bytes": "1KiB"}
    )
    first = finished(config)
    before = attempts(tmp_path / "out")
    write_parquet(tmp_path / "in" / "c.parquet", [{"id": f"c{n}", "text": f"c {n} " * 5} for n in range(25)], 25, schema)
    second = finished(config)
    after = attempts(tmp_path / "out")
    assert ({row["lessons"] for row in first.rows()}, {row["lessons"] for row in second.rows()}) == ({60}, {65})
    assert [len(after[stage, "unit"] - before[stage, "unit"]) for stage in (0, 1)] == [1, 3]


def test_plan_of_a_pipeline_that_leaves_nothing_to_learn_from_is_shown(source, tmp_path):
    """Where a run failed because every document was dropped, the plan still says what is there."""
    steps = [{"type": "length_filter", "min_chars": 1_000_000}, {"type": "own:Recorder"}, {"type": "own:Knower"}]
    config = made(tmp_path, source, steps=steps)
    with pytest.raises(UnitError, match="nothing to learn from"):
        run(config)
    found = survey(config)
    assert [(stage.known, stage.committed > 0) for stage in found.stages] == [(True, True), (False, False)]
    assert any(line.startswith("stage 2 of 2: own:Recorder, own:Knower: ") for line in render(found))


def test_plan_and_status_tell_of_it(source, tmp_path):
    """The plan has the operator where it takes the sample and where it is used; status counts its tasks."""
    config = made(tmp_path, source, execution={"keep_intermediates": "latest"})
    before = everything(tmp_path)
    lines = render(survey(config))
    assert everything(tmp_path) == before
    assert any(line.startswith("stage 2 of 3: exact_dedup, own:Recorder: ") for line in lines)
    assert any(line.startswith("stage 3 of 3: own:Recorder, own:Knower: ") for line in lines)
    finished(config)
    told = "\n".join(render_status(status(str(tmp_path / "out"))))
    assert "(exact_dedup, sample of own:Recorder)" in told
    assert "1 sampling task, 1 learned file committed" in told


# --- what is wrong


def test_what_is_used_must_be_learned_before(tmp_path):
    """A name of an operator that comes later, or of the very same, is an error at its line; a learner that nobody uses is none."""
    path = tmp_path / "p.yaml"
    text = """\
name: p
input: {uri: in/}
operators:
  - type: tokenize
    tokenizer: ours
  - type: train_tokenizer
    name: ours
output: {uri: out}
"""
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"p.yaml:5: operators\[0\].tokenizer: 'ours' is operators\[1\], which comes later; put it before"
    ):
        load(path)
    path.write_text(text.replace("  - type: tokenize\n    tokenizer: ours\n", ""))
    assert load(path).operators[0].name == "ours"


def test_verify_knows_the_learned_files(source, tmp_path):
    """A learned file that is gone, changed, or named by nobody is told, with the file."""
    found = finished(made(tmp_path, source))
    (entry,) = found.manifest["learned"]
    path = found.root / entry["path"]

    def failed():
        return [f"{check.subject}: {check.message}" for check in verify(str(found.root)).checks if not check.ok]

    data = path.read_bytes()
    path.write_bytes(data + b" ")
    assert any(told.startswith(entry["path"]) and "it was changed" in told for told in failed())
    path.unlink()
    assert any(told.startswith(f"{entry['path']}: it is missing") for told in failed())
    path.write_bytes(data)
    assert not failed()
    (path.parent / "more").write_text("x")
    assert any(told.startswith(entry["path"].replace("lessons.json", "more: nothing names it")) for told in failed())
    (path.parent / "more").unlink()
    for change, message in (
        ({"path": "versions/v1/report.html"}, "expected a file in versions/v1/learned/own:Recorder/"),
        ({"operator": "nobody"}, "1 entries name the operator 'nobody'"),
        ({"documents": 10_000}, "learned from 10000 documents, but"),
    ):
        manifest = {**found.manifest, "learned": [{**entry, **change}]}
        for copy in (found.root / "manifest.json", found.folder / "manifest.json"):
            copy.write_text(json.dumps(manifest))
        assert any(message in told for told in failed()), change
    assert output_of(found.root).manifest["version"] == "v1"
