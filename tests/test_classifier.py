"""The operator `classifier`, and `shardmill train-classifier`, which makes its models."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_samples import PROSE, TEXTS, FakeAssets, documents, opened, outcome, small_fasttext  # noqa: F401 -- fixtures
from pydantic import TypeAdapter, ValidationError

from operators import AnyOperator
from operators.base import OperatorError
from operators.classifier import Classifier
from operators.fasttext_model import load_fasttext
from pipelines import classifier_library
from pipelines.classifier_documents import Labelled, LabelledDocuments, Preparation, as_line, divide
from pipelines.classifier_metrics import measure
from pipelines.cli import main
from pipelines.documents import ReadOptions
from pipelines.storage import Sources, open_store

ENGLISH, GERMAN, UNKNOWN = 0, 3, 8  # rows of operator_samples.TEXTS


def ran(assets=None, **settings):
    batch = documents()
    result = opened(Classifier(**settings), assets or FakeAssets())(batch)
    return result.batch, outcome(result)[1]


# The operator


def test_the_score_is_the_probability_of_the_label(small_fasttext):  # noqa: F811
    """A label's probability goes into a column named after the operator."""
    batch, reasons = ran(model=str(small_fasttext), label="__label__en", name="is_english")
    scores = batch.column("is_english")
    assert scores.type == pa.float32()
    model = load_fasttext(str(small_fasttext), "m")
    expected = model.score(pa.array(TEXTS, pa.large_string()), wanted=[model.labels.index("en")]).chosen[:, 0]
    np.testing.assert_array_equal(scores.to_numpy(), expected)
    assert scores[ENGLISH].as_py() > 0.9
    assert scores[GERMAN].as_py() < 0.1
    assert scores[UNKNOWN].as_py() == 0
    assert not any(reasons)


def test_bounds_are_inclusive_and_name_their_reason(small_fasttext):  # noqa: F811
    """A score on the bound stays; beyond it the reason says which bound it was."""
    batch, _ = ran(model=str(small_fasttext), label="en")
    scores = batch.column("classifier").to_pylist()
    low, high = float(scores[GERMAN]), float(scores[ENGLISH])
    _, reasons = ran(model=str(small_fasttext), label="en", min_score=low, max_score=high)
    assert reasons[GERMAN] is None
    assert reasons[ENGLISH] is None
    _, reasons = ran(model=str(small_fasttext), label="en", min_score=np.nextafter(low, 1), max_score=np.nextafter(high, 0))
    assert reasons[GERMAN] == "low_score"
    assert reasons[ENGLISH] == "high_score"


def test_several_labels_count_together(small_fasttext):  # noqa: F811
    """The probabilities of all labels sum up to one."""
    batch, _ = ran(model=str(small_fasttext), labels=["de", "en"], column="known")
    assert batch.column("known")[ENGLISH].as_py() == pytest.approx(1, abs=1e-3)


def test_without_a_label_the_likeliest_one_is_named(small_fasttext):  # noqa: F811
    """Label and probability in two columns; of a text that the model knows nothing of, none."""
    batch, reasons = ran(model=str(small_fasttext), column="language", keep_labels=["en"])
    labels = batch.column("language").to_pylist()
    assert (labels[ENGLISH], labels[GERMAN], labels[UNKNOWN]) == ("en", "de", None)
    assert batch.column("language_score")[GERMAN].as_py() > 0.9
    assert (reasons[ENGLISH], reasons[GERMAN], reasons[UNKNOWN]) == (None, "label", "label")


@pytest.fixture
def ordinal(small_fasttext, tmp_path):  # noqa: F811
    """A model whose labels are the numbers 4 (for English) and 1 (for German)."""
    path = tmp_path / "ordinal.bin"
    path.write_bytes(small_fasttext.read_bytes().replace(b"__label__en", b"__label__4").replace(b"__label__de", b"__label__1"))
    return path


def test_expected_is_the_mean_of_labels_that_are_numbers(ordinal):
    """As FineWeb-Edu scores: the mean by probability, and that rounded."""
    batch, reasons = ran(model=str(ordinal), expected=True, column="edu", min_score=3)
    model = load_fasttext(str(ordinal), "m")
    chosen = model.score(pa.array(TEXTS, pa.large_string()), wanted=[0, 1]).chosen.astype(float)
    values = [float(label) for label in model.labels]
    for row in (ENGLISH, GERMAN):
        assert batch.column("edu")[row].as_py() == pytest.approx(np.average(values, weights=chosen[row]), abs=1e-5)
    assert batch.column("edu_int").to_pylist()[ENGLISH] == 4
    assert batch.column("edu_int").to_pylist()[GERMAN] == 1
    assert (reasons[ENGLISH], reasons[GERMAN]) == (None, "low_score")


def test_annotate_drops_nothing(small_fasttext):  # noqa: F811
    """The column is there; every document stays."""
    batch, reasons = ran(model=str(small_fasttext), label="en", min_score=0.9, annotate=True)
    assert "classifier" in batch.schema.names
    assert not any(reasons)


def test_the_text_is_made_ready_as_it_is_said(small_fasttext):  # noqa: F811
    """Lower case and the first characters are what the model sees; the document itself stays as it was."""
    batch = documents().slice(0, 2).set_column(1, "text", pa.array([PROSE.upper(), TEXTS[GERMAN][:30] + PROSE * 9], pa.large_string()))
    plain = opened(Classifier(model=str(small_fasttext), label="en"))(batch).batch
    ready = opened(Classifier(model=str(small_fasttext), label="en", lowercase=True, max_chars=30))(batch).batch
    assert plain.column("classifier").to_pylist()[0] == 0
    assert ready.column("classifier").to_pylist()[0] > 0.5
    assert plain.column("classifier").to_pylist()[1] > 0.5 > ready.column("classifier").to_pylist()[1]
    assert ready.column("text").equals(batch.column("text"))


@pytest.mark.parametrize("settings", [{"max_chars": 30}, {"lowercase": True}, {"lowercase": True, "max_chars": 30}])
def test_a_text_that_is_not_utf_8_is_an_error_of_its_own(small_fasttext, settings):  # noqa: F811
    """Where characters are counted or changed, the row that has none is an error, and the rows beside it are judged as ever."""
    texts = [PROSE.encode(), b"caf\xe9 " + PROSE.encode(), PROSE.encode() + b"\xff", None, b""]
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_binary()).view(pa.large_string())})
    function = opened(Classifier(model=str(small_fasttext), label="en", min_score=0.5, **settings))
    alone = [function(batch.slice(row, 1)) for row in range(5)]
    found = function(batch)
    assert {row: error.error for row, error in found.errors.items()} == {1: "invalid_utf8", 2: "invalid_utf8", 3: "null_text"}
    assert [row for row in range(5) if alone[row].errors] == sorted(found.errors)
    assert found.batch.column("classifier").to_pylist() == [each.batch.column("classifier")[0].as_py() for each in alone]
    assert found.reasons.to_pylist() == [each.reasons[0].as_py() for each in alone]
    assert found.batch.column("classifier")[0].as_py() > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "eng"}, "has no label 'eng'; did you mean 'en'"),
        ({"labels": ["en", "zzzzzz"]}, "it has 2 labels"),
        ({"keep_labels": ["fr!"]}, "no label 'fr!'"),
        ({"expected": True}, "labels that are numbers.*'en'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_at_the_start(small_fasttext, settings, message):  # noqa: F811
    """The error says what the model has."""
    with pytest.raises(OperatorError, match=message):
        ran(model=str(small_fasttext), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"label": "a", "labels": ["b"]},
        {"label": "a", "expected": True},
        {"label": "a", "keep_labels": ["a"]},
        {"min_score": 0.5, "max_score": 0.4},
        {"max_chars": 0},
        {"min_score": float("nan")},
        {"expected": True, "max_score": float("inf")},
        {"label": "a", "min_score": 1.5},
        {"labels": ["a"], "min_score": 3},
        {"min_score": -0.1},
        {"labels": ["a", "b"], "max_score": -0.1},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings):
    """One score at a time, and one that some document can have."""
    with pytest.raises(ValidationError):
        Classifier(model="m.bin", **settings)


@pytest.mark.parametrize(
    "settings",
    [{"expected": True, "min_score": -2, "max_score": 3}, {"labels": ["a", "b"], "max_score": 1.5}, {"min_score": 0, "max_score": 1}],
)
def test_bounds_are_in_the_unit_of_the_score(settings):
    """A mean of numbers may be any number, and so may independent labels sum above 1."""
    assert Classifier(model="m.bin", **settings).model_dump(include=set(settings)) == settings


# The command

pytest.importorskip("fasttext", reason="the extra shardmill[fasttext] is not installed")

SEA = ["ship", "harbour", "tide", "sailor", "wave", "anchor", "the", "of"]
LAND = ["field", "barn", "plough", "farmer", "wheat", "tractor", "the", "of"]


def written_documents(seed: int, words: list[str], num: int) -> list[str]:
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(words, k=30)) + f"\nNumber {number}." for number in range(num)]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Documents of the sea and of the land, in two kinds of files."""
    monkeypatch.chdir(tmp_path)
    Path("sea.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in written_documents(1, SEA, 120)))
    pq.write_table(pa.table({"text": written_documents(2, LAND, 180)}), "land.parquet")
    return tmp_path


SMALL = ["--dim", "10", "--epochs", "15", "--lr", "0.3", "--quiet"]
SEA_AND_LAND = ["train-classifier", "--label", "sea=sea.jsonl", "--label", "land=land.parquet", *SMALL]


def test_a_model_is_trained_measured_and_told_how_to_use(corpus, capsys):
    """The command's JSON is the one beside the model; its operator, pasted into a pipeline, does what was measured."""
    assert main([*SEA_AND_LAND, "--output", "sea.bin", "--json", "--holdout", "0.3"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert json.loads(Path("sea.bin.json").read_text()) == about
    assert sorted(path.name for path in corpus.iterdir()) == ["land.parquet", "sea.bin", "sea.bin.json", "sea.jsonl"]
    counts = about["labels"]
    assert sum(counts["sea"].values()) == 120
    assert sum(counts["land"].values()) == 180
    assert 50 < about["holdout"]["documents"] == counts["sea"]["held_out"] + counts["land"]["held_out"] < 130
    assert about["holdout"]["accuracy"] == about["holdout"]["labels"]["sea"]["f1"] == 1
    operator = TypeAdapter(AnyOperator).validate_python(about["pipeline"])
    batch = pa.RecordBatch.from_pydict({"text": written_documents(3, SEA, 5) + written_documents(4, LAND, 5)})
    assert opened(operator)(batch).reasons.to_pylist() == [None] * 5 + ["low_score"] * 5


def test_the_output_reads_well(corpus, capsys):
    """A person sees the measures, the thresholds and lines to copy."""
    assert main([*SEA_AND_LAND, "--output", "sub/sea.bin", "--lowercase"]) == 0
    shown = capsys.readouterr().out
    assert "label  trained with  held out  precision  recall  F1" in shown
    assert "min_score  kept" in shown
    assert "Wrote sub/sea.bin" in shown
    assert "  - type: classifier\n    name: sea\n    model: sub/sea.bin\n    label: sea\n    lowercase: true\n    min_score: 0.5\n" in shown


def test_the_same_documents_give_the_same_bytes_however_they_lie(corpus, capsys):
    """Neither files nor their order decide anything about the model."""
    assert main([*SEA_AND_LAND, "--output", "one.bin", "--word-ngrams", "2", "--bucket", "5000"]) == 0
    rows = [{"text": json.loads(line)["text"], "kind": "sea"} for line in Path("sea.jsonl").read_text().splitlines()]
    rows += [{"text": text, "kind": "land"} for text in pq.read_table("land.parquet").column("text").to_pylist()]
    random.Random(5).shuffle(rows)
    for number in range(3):
        pq.write_table(pa.Table.from_pylist(rows[number::3]), f"mixed-{number}.parquet", row_group_size=7)
    mixed = ["train-classifier", "mixed-*.parquet", "--label-column", "kind", *SMALL]
    assert main([*mixed, "--output", "two.bin", "--word-ngrams", "2", "--bucket", "5000"]) == 0
    assert Path("one.bin").read_bytes() == Path("two.bin").read_bytes()
    one, two = (json.loads(Path(f"{name}.bin.json").read_text()) for name in ("one", "two"))
    assert one["holdout"] == two["holdout"]
    assert [file["label"] for file in one["inputs"]] == ["sea", "land"]
    assert [file["label"] for file in two["inputs"]] == [None] * 3
    assert sum(file["rows"] for file in two["inputs"]) == 300


def test_documents_are_divided_by_their_text(corpus, tmp_path):
    """Every document is on one side, equal texts on the same; what is no document is counted."""
    rows = [{"text": f"text {number % 400}", "label": number % 3} for number in range(1200)]
    rows += [{"text": None, "label": 1}, {"text": " \n", "label": 1}, {"text": "without", "label": None}]
    pq.write_table(pa.Table.from_pylist(rows), "some.parquet")
    found = LabelledDocuments(Sources(), [Labelled(None, ("some.parquet",))], ReadOptions(None, "text", None, ()), "label")
    counts = divide(found, Preparation(), 0.25, tmp_path / "lines", tmp_path / "held", found.num_bytes)
    held = pa.ipc.open_stream(tmp_path / "held").read_all().column("text").to_pylist()
    lines = (tmp_path / "lines").read_text().splitlines()
    trained = [line.split(" ", 1)[1] for line in lines]
    assert Counter(held) + Counter(trained) == Counter({f"text {number}": 3 for number in range(400)})
    assert not set(held) & set(trained)
    assert 60 < len(set(held)) < 140
    assert counts.skipped == {"null_text": 1, "empty_text": 1, "no_label": 1}
    assert counts.labels == ["0", "1", "2"]
    assert counts.conflicting == len(set(trained))
    labels = [line.split(" ", 1)[0] for line in lines]
    assert all(Counter(labels[start : start + 90]).most_common()[-1][1] > 10 for start in range(0, 800, 90))  # well mixed


def test_measures_are_those_of_the_library(corpus, tmp_path):
    """Precision, recall and thresholds on held-out documents, computed again with fastText itself."""
    import fasttext

    Path("sea.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in written_documents(1, [*SEA, *LAND[:5]], 300)))
    assert main([*SEA_AND_LAND, "--output", "sea.bin", "--holdout", "0.4"]) == 0
    given = [Labelled("sea", ("sea.jsonl",)), Labelled("land", ("land.parquet",))]
    found = LabelledDocuments(Sources(), given, ReadOptions(None, "text", None, ()), "label")
    divide(found, Preparation(), 0.4, tmp_path / "lines", tmp_path / "held", found.num_bytes)
    table = pa.ipc.open_stream(tmp_path / "held").read_all()
    model = fasttext.load_model("sea.bin")
    truth = table.column("label").to_pylist()
    said = [dict(zip(*model.predict(text.replace("\n", " "), k=2), strict=True)) for text in table.column("text").to_pylist()]
    about = json.loads(Path("sea.bin.json").read_text())
    for row in about["holdout"]["thresholds"]["sea"]:
        kept = [label for label, scores in zip(truth, said, strict=True) if scores["__label__sea"] >= row["min_score"]]
        assert row["kept"] == pytest.approx(len(kept) / len(truth), abs=1e-6)
        assert row["precision"] == (pytest.approx(kept.count("sea") / len(kept), abs=1e-6) if kept else None)
        assert row["recall"] == pytest.approx(kept.count("sea") / truth.count("sea"), abs=1e-6)
    likeliest = [max(scores, key=scores.get).removeprefix("__label__") for scores in said]
    right = sum(a == b for a, b in zip(truth, likeliest, strict=True))
    assert about["holdout"]["accuracy"] == pytest.approx(right / len(truth), abs=1e-6)
    again = measure(load_fasttext("sea.bin", "sea"), tmp_path / "held", ["land", "sea"])
    assert again == about["holdout"]


odd_words = st.sampled_from(["__label__b", "__label__", "</s>", "x</s>", "sea", "\x85", "é", "\u2028"])
odd_spaces = st.sampled_from([" ", "\n", "\t", "\0", "\r", "\v", "\f"])


@given(st.lists(st.tuples(odd_words, odd_spaces), max_size=12))
def test_a_line_has_the_words_that_the_model_will_see(pairs):
    """What looks like a label is no word, and what ends a document for fastText ends it in training, too."""
    line = as_line("a", "".join(word + space for word, space in pairs))
    label, *found = [word for word in line.replace("\t", " ").replace("\v", " ").replace("\f", " ").split(" ") if word]
    seen = [word for word, _ in pairs]
    seen = seen[: seen.index("</s>")] if "</s>" in seen else seen
    assert label == "__label__a"
    assert found == [word for word in seen if not word.startswith("__label__")]
    assert not set("\n\r\0") & set(line)


def test_quantized_models_are_small_and_read(corpus, capsys):
    """`--quantize` gives an .ftz file that the operator reads."""
    Path("many.jsonl").write_text("".join(json.dumps({"text": f"w{n} {t}"}) + "\n" for n, t in enumerate(written_documents(1, SEA, 900))))
    command = ["train-classifier", "--label", "sea=many.jsonl", "--label", "land=land.parquet", *SMALL]
    assert main([*command, "--output", "sea.ftz", "--quantize", "--cutoff", "300"]) == 0
    assert main([*command, "--output", "sea.bin"]) == 0
    assert Path("sea.ftz").stat().st_size < Path("sea.bin").stat().st_size / 2
    scores = opened(Classifier(model="sea.ftz", label="sea"))(pa.RecordBatch.from_pydict({"text": written_documents(7, SEA, 3)}))
    assert min(scores.batch.column("classifier").to_pylist()) > 0.5


def test_documents_and_models_may_lie_in_a_store(corpus, capsys):
    """URIs go through the project's stores, for reading and for writing."""
    store = open_store("memory://classifier")
    for name in ("sea.jsonl", "land.parquet"):
        store.create(name, Path(name).read_bytes())
    command = [
        "train-classifier",
        "--label",
        "sea=memory://classifier/s*.jsonl",
        "--label",
        "land=memory://classifier/land.parquet",
        *SMALL,
    ]
    assert main([*command, "--output", "memory://classifier/out/sea.bin"]) == 0
    assert main([*SEA_AND_LAND, "--output", "sea.bin"]) == 0
    assert store.read("out/sea.bin") == Path("sea.bin").read_bytes()
    assert json.loads(store.read("out/sea.bin.json"))["inputs"][0]["uri"] == "memory://classifier/sea.jsonl"
    assert sorted(found.path for found in store.list("out")) == ["out/sea.bin", "out/sea.bin.json"]


def test_without_the_library_the_extra_is_named(corpus, capsys, monkeypatch):
    """What to install is said before anything is read."""
    monkeypatch.setattr(classifier_library.importlib.util, "find_spec", lambda name: None)
    assert main([*SEA_AND_LAND, "--output", "sea.bin"]) == 1
    assert "pip install 'shardmill[fasttext]'" in capsys.readouterr().err
    assert not Path("sea.bin").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--output", "x.bin"], 2, "--label NAME=URI"),
        (["--label", "sea=sea.jsonl", "land.parquet", "--output", "x.bin"], 2, "either"),
        (["--label", "sea", "--output", "x.bin"], 2, "expected NAME=URI"),
        (["--label", "deep sea=sea.jsonl", "--output", "x.bin"], 2, "white space"),
        (["--label", "sea=sea.jsonl", "--output", "x.bin"], 1, "at least two labels"),
        (["--label", "sea=sea.jsonl", "--label", "land=absent/*.parquet", "--output", "x.bin"], 1, "absent"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.ftz"], 2, "NAME.bin"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.bin", "--quantize"], 2, "NAME.ftz"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.bin", "--cutoff", "9"], 2, "--quantize"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.bin", "--minn", "4", "--maxn", "2"], 2, "--maxn"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.bin", "--min-count", "9999999"], 1, "--min-count"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "x.bin", "--positive", "air"], 2, "sea"),
        (["--label", "sea=sea.jsonl", "--label", "land=land.parquet", "--output", "/proc/x/y.bin"], 1, "cannot be written"),
        (["--label", "sea=sea.jsonl", "--label", "x=land.parquet", "--output", "x.bin", "--storage-option", "secret=pw"], 2, "environment"),
        (["land.parquet", "--output", "x.bin"], 1, "no column 'label'"),
    ],
)
def test_what_cannot_work_is_said_and_leaves_nothing(corpus, capsys, arguments, status, message):
    """Errors name the option; no file is left behind."""
    assert main(["train-classifier", *arguments]) == status
    shown = capsys.readouterr()
    assert message in shown.err
    assert "pw" not in shown.err.replace("environment", "")
    assert sorted(path.name for path in corpus.iterdir()) == ["land.parquet", "sea.jsonl"]


def test_a_store_that_is_only_read_is_refused_without_its_secrets(corpus, capsys):
    """The model cannot go to a web server, and the message does not repeat the password."""
    assert main([*SEA_AND_LAND, "--output", "https://me:pw123@localhost/x/sea.bin"]) in (1, 2)
    shown = capsys.readouterr().err
    assert "localhost" in shown
    assert "pw123" not in shown


def test_training_runs_in_a_process_of_its_own(corpus):
    """The library is never loaded into the command's process."""
    sys.modules.pop("fasttext", None)
    assert main([*SEA_AND_LAND, "--output", "sea.bin"]) == 0
    assert "fasttext" not in sys.modules


TELLS = """
import importlib, os, sys
sys.path.remove({folder!r})
del sys.modules["fasttext"]
library = importlib.import_module("fasttext")
train = library.train_supervised

def told(**settings):
    with open({fifo!r}, "w") as fifo:
        fifo.write(str(os.getpid()))
    return train(**settings)

library.train_supervised = told
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_training_that_is_interrupted_leaves_nothing(corpus, number):
    """Ctrl-C or SIGTERM ends the library's process too: status 130, one line, no model, no temporary file."""
    before = sorted(path.name for path in corpus.iterdir())
    tells, temporary, fifo = (corpus / name for name in ("tells", "temporary", "fifo"))
    tells.mkdir()
    temporary.mkdir()
    os.mkfifo(fifo)
    (tells / "fasttext.py").write_text(TELLS.format(folder=str(tells), fifo=str(fifo)))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *SEA_AND_LAND, "--epochs", "100000000", "--output", "sea.bin"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tells), "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    try:
        child = int(fifo.read_text())
        os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=60)
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err.strip()) == (130, "", "shardmill: interrupted")
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in corpus.iterdir()) == sorted([*before, "fifo", "tells", "temporary"])
