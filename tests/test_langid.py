"""Language identification: our kernels against py3langid, Unicode's composed form, and scripts by a plain reference."""

from __future__ import annotations

import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import TEXTS, real_documents

from operators.kernels import langid_layout
from operators.kernels.buffers import text_buffers
from operators.kernels.composed import composition, find_plain
from operators.kernels.kept import kept
from operators.kernels.langid_layout import LayoutError, laid_out
from operators.kernels.scripts import JAPANESE, SCRIPTS, main_scripts, scripts
from operators.kernels.unicode import tables
from operators.langid_model import bundled_model

CLOSE = 1e-6
"""Probabilities that float32 does not tell apart: which of two such languages comes first is a matter of rounding."""

LETTERS = {
    "Latn": "aZé\u00df\u0130\uff21",
    "Cyrl": "жЖѐ",
    "Grek": "αΩ\u03ac",
    "Arab": "بت",
    "Deva": "कख",
    "Hang": "한국\u1112\u1161",
    "Hani": "漢字\u4e00",
    "Hira": "ひら",
    "Kana": "カタ\uff76",
    "Thai": "กข",
    "Hebr": "אב",
}
NONE = "1 .\n,\u0301\u200d\U0001f600\u00aa\u0345"
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0345\u1161\u11a8\u3099\u0b3e\u0bbe\u0f71\u0f72\U000110ba\U0001d165"
STARTERS = "aAeéOÅ\u212b\u1e69\uac00\u1100\u1112か\u0b47\u0bc6\u0958\u0374\u2126ΣςİſǅẞªⅠ"
RICH = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(MARKS + STARTERS), st.sampled_from(TEXTS[0])), max_size=60
)
WORDS = [*" ".join(TEXTS).split(), "être", "straße", "что", "это", "です", "안녕", "नमस्ते", "ÉTÉ", "cafe\u0301"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
ANY_TEXT = RICH | SENTENCES | SENTENCES.map(str.upper) | SENTENCES.map(lambda text: unicodedata.normalize("NFD", text))


@cache
def library():
    """The library, as the operator would call it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def identified(*texts):
    """Labels and scores by our kernel."""
    model = bundled_model()
    labels, scores = model.identify(pa.array(texts, pa.large_string()))
    return [(None if label < 0 else model.labels[label]) for label in labels], scores.tolist()


def agrees(text, label, score):
    """Whether the library gives a label and a score; of languages that are equally likely each is right."""
    best, probability = library().classify(text)
    if best != label:
        probabilities = dict(library().rank(text))
        assert probabilities[label] == pytest.approx(probability, abs=CLOSE), (text, label, best)
    assert score == pytest.approx(probability, abs=1e-4), text


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=8))
@example(["", " ", "a", "A", "\0", "\U0010ffff", "\u0301", "12345", "İSTANBUL", "ǅ"])
def test_labels_and_scores_of_any_text_are_the_library_s(texts):
    """Upper case, combining marks, conjoining letters, anything: label and score are those of `classify`."""
    for text, label, score in zip(texts, *identified(*texts), strict=True):
        agrees(text, label, score)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | ANY_TEXT, min_size=1, max_size=12), st.data())
def test_a_text_is_judged_by_itself(texts, data):
    """Alone, among others or in a slice, a text gets the same label and bit for bit the same score."""
    labels, scores = identified(*texts)
    for i, text in enumerate(texts):
        assert identified(text) == ([labels[i]], [scores[i]])
    start = data.draw(st.integers(0, len(texts)))
    found, probabilities = bundled_model().identify(pa.array(texts, pa.large_string()).slice(start))
    assert probabilities.tolist() == scores[start:]
    assert [label is None for label in labels[start:]] == (found < 0).tolist()


@pytest.mark.parametrize("text", ["".join(TEXTS[:5]), "что это такое, " * 9, "e\u0301te\u0301 漢字 한국 AÀ " * 9])
def test_texts_of_every_length(text):
    """From no byte to hundreds, wherever the walk is cut into places that are walked at once."""
    texts = [text[:length] for length in range(min(len(text), 260))]
    for each, label, score in zip(texts, *identified(*texts), strict=True):
        agrees(each, label, score)


@pytest.mark.parametrize("repeated", [8, 300])
def test_long_texts(repeated):
    """N-grams found hundreds of times count as the library counts them."""
    batch = real_documents("multi-lid-00000", limit=30)
    texts = [text * repeated for text in batch.column("text").to_pylist() if len(text) < 3000]
    assert texts
    for text, label, score in zip(texts, *identified(*texts), strict=True):
        agrees(text, label, score)


def repeated_score(text, times):
    """What the library would say of a text repeated many times, from how often it finds each n-gram in two and in three of them."""
    from py3langid.langid import visit_counts

    its = library()
    two, three = (visit_counts(its.tk_nextmove, its._rowbase, its.tk_output, text.encode() * num) for num in (2, 3))
    visits = Counter({gram: two[gram] + (times - 2) * (three[gram] - two[gram]) for gram in three})
    raw = its._sparse_score(visits, its.nb_ptc).astype(np.float64)
    powers = np.exp((raw - raw.max()) / np.sqrt(len(text.encode()) * times))
    return its.nb_classes[int(raw.argmax())], powers.max() / powers.sum()


def test_a_document_of_fifty_megabytes():
    """A document far larger than any cache goes through, whatever lies beside it."""
    text = TEXTS[3] + TEXTS[0]
    times = 50_000_000 // len(text)
    labels, scores = identified("", text * times, TEXTS[3], "a")
    label, score = repeated_score(text, times)
    assert (labels[1], scores[1]) == (label, pytest.approx(score, abs=1e-4))
    assert (labels[2], scores[2]) == tuple(each[0] for each in identified(TEXTS[3]))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_any_bytes_go_through(parts):
    """Bytes that are no text get some label and a probability."""
    ends = np.cumsum([0, *map(len, parts)])
    column = pa.LargeStringArray.from_buffers(len(parts), pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(b"".join(parts)))
    found, scores = bundled_model().identify(column)
    assert ((found >= 0) & (found < len(bundled_model().labels))).all()
    assert ((scores > 0) & (scores <= 1 + CLOSE)).all()
    numbers = np.zeros(len(parts), np.int32)
    main_scripts(*text_buffers(column), scripts(), np.zeros(len(SCRIPTS), np.int64), numbers)
    assert ((numbers >= 0) & (numbers < len(SCRIPTS))).all()


def plain(texts):
    """Which texts the kernel says can be read as they are."""
    found = np.zeros(len(texts), np.bool_)
    find_plain(*text_buffers(pa.array(texts, pa.large_string())), tables(), composition(), found)
    return found.tolist()


@settings(deadline=None, max_examples=300)
@given(st.lists(ANY_TEXT | st.text(st.sampled_from(MARKS + STARTERS), max_size=6), max_size=12))
def test_plain_texts_are_composed_and_not_all_upper_case(texts):
    """What is found plain, Python's `is_normalized` and `isupper` say so too."""
    for text, found in zip(texts, plain(texts), strict=True):
        assert not found or (unicodedata.is_normalized("NFC", text) and not text.isupper()), ascii(text)


def test_every_character_and_every_pair_that_matters():
    """Each character alone, and each two of a starter and a mark of the first planes, are told right."""
    codes = [code for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    texts = [f"{before}{chr(code)}" for before in ("a", "A", "", "か", "\u0b47") for code in codes]
    wrong = [
        ascii(text)
        for text, found in zip(texts, plain(texts), strict=True)
        if found and (text.isupper() or not unicodedata.is_normalized("NFC", text))
    ]
    assert wrong == []


def test_few_ordinary_texts_are_not_found_plain():
    """The slow way is for few: of real documents in a hundred languages nearly all that are plain are found so."""
    texts = real_documents("multi-lid-00000", "multi-00000").column("text").to_pylist()
    found = plain(texts)
    really = [unicodedata.is_normalized("NFC", text) and not text.isupper() for text in texts]
    assert sum(found) > 0.97 * sum(really)


def script_by_counting(text):
    """The plain reference: letters counted one by one."""
    counts = Counter(script for char in text for script, letters in LETTERS.items() if char in letters)
    kana = counts["Hira"] + counts["Kana"]
    if kana * 10 > kana + counts["Hani"]:
        counts["Jpan"] = kana + counts["Hani"]
    most = max(counts.values(), default=0)
    return next((script for script in SCRIPTS if most and counts[script] == most), SCRIPTS[0])


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("".join(LETTERS.values()) + NONE + "@[`{" * 9), max_size=200), max_size=10))
@example(["{Z" * 64, "@a" * 33 + "ж" * 66, "Z" * 63 + "ж" + "[" * 70])
def test_the_script_is_that_of_most_letters(texts):
    """Digits, marks and signs count for none; of equals the first one of the list is it."""
    found = np.zeros(len(texts), np.int32)
    main_scripts(*text_buffers(pa.array(texts, pa.large_string())), scripts(), np.zeros(len(SCRIPTS), np.int64), found)
    assert [SCRIPTS[number] for number in found] == [script_by_counting(text) for text in texts]


def test_japanese_is_told_from_chinese():
    """A text of which more than a tenth is kana is Japanese; Chinese characters alone are not."""
    texts = ["日本語の文章です。", "漢字" * 50 + "の", "中文文章"]
    found = np.zeros(len(texts), np.int32)
    main_scripts(*text_buffers(pa.array(texts, pa.large_string())), scripts(), np.zeros(len(SCRIPTS), np.int64), found)
    assert [SCRIPTS[number] for number in found] == ["Jpan", "Hani", "Hani"]
    assert SCRIPTS[JAPANESE] == "Jpan"


def installed_model():
    """The arrays of the installed package, in the order of `laid_out`."""
    import py3langid
    from py3langid.modelio import load_model

    weights, prior, names, nextmove, rows, outputs = load_model(Path(py3langid.__path__[0]) / "data" / "model.npz.xz")
    arrays = np.asarray(nextmove), np.asarray(rows, np.int64), np.asarray(outputs, np.int64), np.asarray(weights, np.float32)
    return [*arrays, prior, names]


def test_a_model_of_another_kind_is_refused():
    """Weights that 16 bits do not hold, or states that depend on all the text before, are never read wrongly."""
    nextmove, rows, outputs, weights, prior, names = installed_model()
    with pytest.raises(LayoutError, match="multiples"):
        laid_out(nextmove, rows, outputs, weights / 3, prior, names)
    with pytest.raises(LayoutError, match="differ by"):
        laid_out(nextmove, rows, outputs, weights * 8, prior, names)
    moved = nextmove.copy()
    moved[(int(rows[nextmove[97]]) << 8) + 7] = nextmove[98]
    with pytest.raises(LayoutError, match="states depend on"):
        laid_out(moved, rows, outputs, weights, prior, names)


def test_what_is_kept_is_made_once_and_again_if_damaged(tmp_path, monkeypatch):
    """Of workers that start at once one makes the arrays; a file that was cut short is made anew."""
    monkeypatch.setattr("operators.kernels.kept.cache_folder", lambda: tmp_path)
    made = []

    def make():
        made.append(1)
        return {"numbers": np.arange(1000)}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept("numbers", langid_layout.__file__, b"", make), range(8)))
    assert made == [1]
    assert all((arrays["numbers"] == np.arange(1000)).all() for arrays in found)
    assert all(not arrays["numbers"].flags.writeable and arrays["numbers"].ctypes.data % 64 == 0 for arrays in found)
    [path] = tmp_path.glob("numbers-*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    assert (kept("numbers", langid_layout.__file__, b"", make)["numbers"] == np.arange(1000)).all()
    kept("numbers", langid_layout.__file__, b"another source", make)
    assert made == [1, 1, 1]
