"""fastText's classifiers, read and evaluated by our own code: what the library says, for any model and bytes; errors for bad files."""

from __future__ import annotations

import random
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_samples import asset, real_documents

from operators.base import OperatorError
from operators.fasttext_model import FastTextModel, load_fasttext
from pipelines.classifier_library import train

fasttext = pytest.importorskip("fasttext", reason="the extra shardmill[fasttext] is not installed")

NUM_MANY = 300  # the library quantizes no output of fewer than 256 rows
BASE = {"dim": 12, "epoch": 12, "lr": 0.2, "thread": 1, "bucket": 3000, "minCount": 1}
KINDS = {
    "softmax": {"loss": "softmax"},
    "softmax-ngrams": {"loss": "softmax", "wordNgrams": 2, "minn": 2, "maxn": 4},
    "hs": {"loss": "hs", "wordNgrams": 2},
    "hs-chars": {"loss": "hs", "minn": 1, "maxn": 3, "dim": 17},
    "ova": {"loss": "ova", "minn": 2, "maxn": 4},
    "ns": {"loss": "ns", "wordNgrams": 3, "dim": 40},
}
QUANTIZED = {
    "softmax-ngrams": {"qnorm": True},
    "ova": {"cutoff": 400, "retrain": True, "epoch": 3, "lr": 0.1, "thread": 1},
    "hs": {"cutoff": 300, "retrain": True, "epoch": 3, "lr": 0.1, "thread": 1, "qnorm": True, "dsub": 5},
    "many": {"qout": True, "qnorm": True},
}
WORDS = ["sea", "Straße", "été", "你好", "мир", "naïve", "a", "e\u0301", "\U0001f600", "x" * 70, "don't", "well-known", "<tag>", "</sea>"]


def line(label: int, chooser: random.Random) -> str:
    own = [f"{word}{label}" for word in WORDS]
    return " ".join(chooser.choice([chooser.choice(own), chooser.choice(WORDS), str(chooser.randrange(200))]) for _ in range(25))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Small models of every kind, plain and quantized, trained by the library."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, options in {**KINDS, "many": {"loss": "softmax"}}.items():
        chooser = random.Random(name)
        num_labels = NUM_MANY if name == "many" else 5
        lines = folder / f"{name}.txt"
        rows = [(row % num_labels, row) for row in range(900)]
        lines.write_text("".join(f"__label__{label} {line(label, chooser)}\n" for label, _ in rows), "utf-8")
        found[name] = folder / f"{name}.bin"
        train(lines, found[name], BASE | options, None, progress=False)
        if name in QUANTIZED:
            found[f"{name}-quantized"] = folder / f"{name}.ftz"
            train(lines, found[f"{name}-quantized"], BASE | options, QUANTIZED[name], progress=False)
    return found


NAMES = [*KINDS, "many", *(f"{name}-quantized" for name in QUANTIZED)]


@cache
def library(path: str):
    return fasttext.FastText._FastText(path)


def by_library(path: str, text: bytes, num: int) -> dict[str, float]:
    """The likeliest labels and their scores as the library says for one line; -1: all of them."""
    found = library(path).f.predict(text.replace(b"\n", b" ") + b"\n", num, 0.0, "replace")
    return {label.removeprefix("__label__"): score for score, label in found}


def column(texts: list[bytes]) -> pa.LargeStringArray:
    """Texts of any bytes as the kernels get them, behind others, so that their offsets do not begin at zero."""
    binary = pa.array([b"before", *texts], pa.large_binary())
    whole = pa.LargeStringArray.from_buffers(len(binary), binary.buffers()[1], binary.buffers()[2])
    return whole.slice(1)


def agree(model: FastTextModel, path: str, texts: list[bytes]) -> None:
    """Our scores are the library's, of every label, and so is the likeliest label."""
    found = model.score(column(texts), wanted=range(len(model.labels)))
    for row, text in enumerate(texts):
        expected = by_library(path, text, -1)
        if not expected:
            assert found.best[row] == -1
            assert found.scores[row] == 0
            assert not found.chosen[row].any()
            continue
        ((label, score),) = by_library(path, text, 1).items()
        assert model.labels[found.best[row]] == label, text
        assert found.scores[row] == pytest.approx(score, abs=1e-4)
        # the library leaves out what is below its own smallest number
        theirs = np.array([expected.get(name, 0.0) for name in model.labels])
        np.testing.assert_allclose(found.chosen[row], theirs, atol=1e-4)


DOCUMENTS = [
    *(line(label, random.Random(label)).encode() for label in range(5)),
    b"",
    b" ",
    b"a",
    b"\n\n",
    b"sea1 </s> sea2 sea3",
    b"</s>",
    b"__label__1 sea2",
    b"__label__1",
    b"__label__unknown sea3 __label__",
    b"sea1\0sea2\tsea3\vsea4\x0csea0\rsea1",
    "été1 你好2\u2028мир3 \u00a0naïve4 x\u3000y".encode(),
    ("x" * 70 + "3 ").encode() * 40,
    b"y" * 5000,
    b"\xff\xfe sea1 \xc3",
    b"\x80\x80\x80 \xe4\xbd sea2",
]
words = st.sampled_from(
    [*WORDS, *(f"{word}{i}" for word in WORDS for i in range(5)), "</s>", "__label__1", "__label__", "__label__zz", "12"]
)
spaces = st.sampled_from([" ", "  ", "\n", "\t", "\0", "\r\n", "\v", "\f", "\u2003", ""])
texts = st.one_of(
    st.text(max_size=60).map(str.encode),
    st.binary(max_size=40),
    st.lists(st.tuples(words, spaces), max_size=20).map(lambda pairs: "".join(word + space for word, space in pairs).encode()),
)


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_scores_are_the_librarys(models, name):
    """Every loss, n-gram setting and quantization gives what the library gives, for odd texts as for plain ones."""
    path = str(models[name])
    model = load_fasttext(path, name)
    assert sorted(model.labels) == sorted(label.removeprefix("__label__") for label in library(path).get_labels())
    agree(model, path, DOCUMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_scores_are_the_librarys_for_any_text(models, name):
    """Nothing that can stand in a text, not even bytes that are no UTF-8, makes a difference."""
    path = str(models[name])
    model = load_fasttext(path, name)

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(texts, max_size=12))
    def check(some: list[bytes]) -> None:
        agree(model, path, some)

    check()


@pytest.mark.parametrize("group", ["multi-lid-00000", "multi-00000", "web-thirdparty-00000", "code-00000", "edge-00000"])
def test_languages_of_real_documents_are_the_librarys(group):
    """lid.176.ftz says the same of real documents, whatever their language."""
    path = asset("lid/lid.176.ftz")
    documents = [text.encode() for text in real_documents(group, limit=60).column("text").to_pylist() if text is not None]
    agree(load_fasttext(path, "lid"), path, documents)


def test_a_document_is_judged_by_itself(models):
    """Neither nulls nor the documents around it change what is said of one."""
    model = load_fasttext(str(models["softmax-ngrams"]), "m")
    texts = column(DOCUMENTS)
    whole = model.score(texts, wanted=range(5))
    for row in range(len(texts)):
        alone = model.score(texts.slice(row, 1), wanted=range(5))
        assert alone.best[0] == whole.best[row]
        np.testing.assert_array_equal(alone.chosen[0], whole.chosen[row])
    with_nulls = model.score(pa.array([None, "sea1 sea1", None], pa.large_string()), wanted=[0])
    assert with_nulls.best.tolist()[::2] == [-1, -1]
    assert with_nulls.chosen[::2].tolist() == [[0.0], [0.0]]
    assert with_nulls.best[1] >= 0


def test_an_empty_batch_and_a_huge_document_go_through(models):
    """Size is no obstacle at either end."""
    path = str(models["softmax"])
    model = load_fasttext(path, "m")
    assert len(model.score(column([]), wanted=[0]).best) == 0
    agree(model, path, [b"sea1 " * 2_000_000, b"z" * 5_000_000])


def test_what_passes_is_what_is_above_its_least(models):
    """A document passes by any label whose score is above that label's own least, of its own kind."""
    model = load_fasttext(str(models["ova"]), "m")
    texts = column(DOCUMENTS[:5])
    scores = model.score(texts, wanted=range(5)).chosen.astype(np.float64)
    least = np.array([[0.5, 0.5, np.inf, 0.5, 0.5], [np.inf, np.inf, 0.01, np.inf, np.inf]])
    kinds = np.array([0, 1, 0, 1, 0], np.int32)
    found = model.score(texts, least, kinds).passed
    assert found.tolist() == [bool((scores[row] > least[kinds[row]]).any()) for row in range(5)]
    assert 0 < found.sum() < 5


# Files that are no model


def refused(path: Path, data: bytes) -> bool:
    """Whether a file is refused with a clear error; if it is not, texts are judged by it without harm."""
    path.write_bytes(data)
    try:
        model = load_fasttext(str(path), "model")
    except OperatorError as error:
        if "'model' is not a fastText model" not in str(error):
            raise
        return True
    finally:
        path.unlink()
    model.score(column(DOCUMENTS), wanted=range(len(model.labels)))
    return False


@pytest.mark.parametrize("name", ["hs", "softmax-ngrams", "ova-quantized", "many-quantized"])
def test_a_file_cut_anywhere_is_refused(models, name, tmp_path):
    """A download that ended early is never taken for a model."""
    data = models[name].read_bytes()
    cuts = {*range(120), *range(120, len(data), max(1, len(data) // 40)), *range(len(data) - 5, len(data))}
    assert [cut for cut in sorted(cuts) if not refused(tmp_path / f"{cut}.bin", data[:cut])] == []


@pytest.mark.parametrize("name", ["hs", "softmax-ngrams", "ova-quantized", "many-quantized"])
def test_a_file_with_flipped_bits_does_no_harm(models, name, tmp_path):
    """Whatever a damaged file says, it is refused, or read within its bounds."""
    data, chooser = models[name].read_bytes(), random.Random(7)
    head = [*range(120)] * 2
    places = [*head, *(chooser.randrange(len(data)) for _ in range(150))]
    num_refused = 0
    for number, place in enumerate(places):
        damaged = bytearray(data)
        damaged[place] ^= chooser.choice([1, 0x80, 0xFF, 1 << chooser.randrange(8)])
        num_refused += refused(tmp_path / f"{number}.bin", bytes(damaged))
    assert num_refused > 50


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04 something else", "it begins with"),
        (struct.pack("<2i", 793712314, 99), "version 99"),
        (struct.pack("<2i12id", 793712314, 12, 10, 5, 5, 1, 5, 1, 3, 2, 0, 0, 0, 100, 1e-4), "word vectors"),
        (struct.pack("<2i12id", 793712314, 12, 10, 5, 5, 1, 5, 1 << 30, 3, 3, 9, 0, 0, 100, 1e-4), "make no sense"),
    ],
)
def test_what_is_no_model_is_told_by_what_it_is(tmp_path, data, why):
    """The error names the model and what is wrong with the file."""
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(OperatorError, match=why):
        load_fasttext(str(path), "https://example.org/model.bin")


def test_a_missing_file_is_told(tmp_path):
    """There is nothing to read."""
    with pytest.raises(OperatorError, match="No such file"):
        load_fasttext(str(tmp_path / "absent.bin"), "absent.bin")


def test_a_word_without_end_is_refused_at_once(tmp_path):
    """A dictionary that never ends costs no time."""
    head = struct.pack("<2i12id3i2q", 793712314, 12, 10, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4, 2, 1, 1, 5, -1)
    entry = b"w" * 3_000_000 + b"\0" + struct.pack("<qb", 1, 0)
    assert refused(tmp_path / "model.bin", head + entry + b"__label__a\0" + struct.pack("<qb", 1, 1) + bytes(1000))
