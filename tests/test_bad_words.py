"""Documents with words of a list."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import SHARED, FakeAssets, asset, opened, real_documents
from pydantic import ValidationError

from operators.bad_words import LANGUAGES, REASON, BadWords
from operators.base import OperatorError
from operators.kernels.buffers import text_buffers
from operators.kernels.phrases import first_phrases, phrases_of
from operators.kernels.unicode import tables

FOLDER = str(SHARED / "data" / "assets" / "blocklists" / "ldnoobw")
PIECES = [
    "a",
    "b",
    "ab",
    "A",
    "B",
    "_",
    "1",
    " ",
    ".",
    "-",
    "\n",
    "\u0130",
    "i",
    "\u0307",
    "\u03a3",
    "\u03c3",
    "\u03c2",
    "\u212a",
    "k",
    "\u00df",
    "\u1e9e",
    "'",
]
PIECES += [
    "\u00ad",
    "\u0301",
    "é",
    "É",
    "д",
    "Д",
    "\u023a",
    "\u2c65",
    "性",
    "ば",
    "か",
    "\U00010400",
    "\U00010428",
    "\u00aa",
    "\u0345",
    "\x00",
    "\u2028",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=12)
PHRASE = TEXT.map(str.lower).filter(lambda text: text and not text.startswith("\u0307"))


def found_by_regex(phrases: list[str], text: str, *, bounded: bool) -> bool:
    """datatrove's expression."""
    words = "|".join(map(re.escape, phrases))
    return re.search(rf"(?:\W|^)({words})(?:\W|$)" if bounded else words, text.lower()) is not None


@settings(deadline=None, max_examples=600)
@given(st.lists(PHRASE, min_size=1, max_size=6), st.lists(TEXT, min_size=1, max_size=12), st.booleans())
@example(["\u03c2"], ["a\u03a3"], False)
def test_search_is_the_regular_expression(phrases, texts, bounded):
    """Any phrases in any text are found exactly where `re` finds them in its lower case."""
    column = pa.array(texts, pa.large_string())
    groups = np.zeros(len(texts), np.int32)
    found = first_phrases(*text_buffers(column), groups, phrases_of([(phrases, bounded)]), tables())
    assert [number >= 0 for number in found] == [found_by_regex(phrases, text, bounded=bounded) for text in texts]
    for number, text in zip(found, texts, strict=True):
        assert number < 0 or found_by_regex([phrases[number]], text, bounded=bounded)


@pytest.mark.parametrize("text", ["abc\u212a", "ab\u212ac", "a\u212ab", "\u212aab", "AB\u212a", "a\u0130b", "\u0130b", "a\u1e9eb"])
def test_capitals_of_other_sizes_are_found(text):
    """A capital beyond ASCII at any place of a phrase is found by its lower case, however many bytes either has."""
    phrase = text.lower()
    for bounded in (True, False):
        found = first_phrases(
            *text_buffers(pa.array([text], pa.large_string())), np.zeros(1, np.int32), phrases_of([([phrase], bounded)]), tables()
        )
        assert found.tolist() == [0]


def test_every_character_has_the_lower_case_and_the_class_that_python_gives():
    """Each character in place of a letter, and beside a phrase, matters exactly as it does to `re`."""
    chars = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and (chr(code).lower() != chr(code) or code < 0x3000)]
    texts = [f"x {char}{char}y" for char in chars] + [f"{char}ab{char}" for char in chars]
    phrases = [*sorted({f"{char}{char}y".lower() for char in chars if char not in "\u0130\u03a3"}), "ab"]
    groups = np.zeros(len(texts), np.int32)
    found = first_phrases(*text_buffers(pa.array(texts, pa.large_string())), groups, phrases_of([(phrases, True)]), tables())
    whole = set(phrases)
    for number, text in zip(found[: len(chars)], texts, strict=False):
        char = text[2]
        assert (number >= 0) == (text[2:].lower() in whole and not (len(char.lower()) > 1)), ascii(text)
    for number, text in zip(found[len(chars) :], texts[len(chars) :], strict=True):
        assert (number >= 0) == found_by_regex(["ab"], text, bounded=True), ascii(text)


def bad_documents(operator: BadWords, batch: pa.RecordBatch, seed: int = 0) -> list[str | None]:
    result = opened(operator, FakeAssets(seed=seed))(batch)
    reasons = result.reasons.to_pylist()
    if result.details is not None:
        assert [detail is None for detail in result.details.to_pylist()] == [reason is None for reason in reasons]
    assert set(reasons) <= {None, REASON}
    return reasons


def datatrove_regex(code: str) -> re.Pattern[str]:
    """As C4BadWordsFilter makes it, from the same list on disk."""
    from datatrove.pipeline.filters.c4_filters import _BADWORDS_ALLOWLIST

    words = {line.strip() for line in Path(asset(f"blocklists/ldnoobw/{code}")).read_text().split("\n")[:-1]}
    for allowed in _BADWORDS_ALLOWLIST.values():
        words -= allowed
    joined = "|".join(map(re.escape, words))
    return re.compile(joined if code in ("ja", "th", "zh") else rf"(?:\W|^)({joined})(?:\W|$)")


def test_languages_and_allow_list_are_those_of_datatrove():
    """What was written down here is what the installed datatrove has."""
    from datatrove.pipeline.filters.c4_filters import _BADWORDS_ALLOWLIST, _BADWORDS_LANGS

    assert list(LANGUAGES) == _BADWORDS_LANGS
    assert set(BadWords.model_fields["allow"].default) == set().union(*_BADWORDS_ALLOWLIST.values())


def test_real_documents_in_every_language_as_datatrove():
    """Each document is judged by its language's list as datatrove's expression judges it."""
    batch = real_documents("multi-00000", "multi-lid-00000", "web-thirdparty-00000", "edge-00000", limit=250)
    languages = [
        LANGUAGES[row % len(LANGUAGES)] if code not in LANGUAGES or row % 3 == 0 else code
        for row, code in enumerate(batch["lang"].to_pylist())
    ]
    batch = batch.append_column("language", pa.array(languages))
    found = bad_documents(BadWords(preset="datatrove", lists=FOLDER, language_column="language"), batch)
    regexes = {code: datatrove_regex(code) for code in LANGUAGES}
    expected = [
        REASON if regexes[code].search(text.lower()) else None for code, text in zip(languages, batch["text"].to_pylist(), strict=True)
    ]
    assert found == expected
    assert 10 < sum(reason is not None for reason in found) < batch.num_rows


def test_real_english_as_datatrove():
    """English documents are judged as by datatrove's expression."""
    batch = real_documents("en-open-00002", "web-thirdparty-00001", limit=300)
    found = opened(BadWords(preset="datatrove", lists=FOLDER))(batch).reasons.to_pylist()
    regex = datatrove_regex("en")
    assert found == [REASON if regex.search(text.lower()) else None for text in batch["text"].to_pylist()]


def written(tmp_path, **lists: str) -> dict[str, str]:
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
    return {name: str(tmp_path / name) for name in lists}


def test_capitals_in_lists_match_by_default(tmp_path):
    """datatrove never finds a word that its list capitalises; here it is found unless that is asked for."""
    lists = written(tmp_path, es="Cabron\n")
    batch = pa.record_batch({"text": ["un CABRON."]})
    assert bad_documents(BadWords(lists=lists, language="es"), batch) == [REASON]
    assert bad_documents(BadWords(preset="datatrove", lists=lists, language="es"), batch) == [None]


def test_details_say_which_word(tmp_path):
    """The drop table learns what was found."""
    lists = written(tmp_path, en="bad\nvery wrong\n\n", zh="坏\n性\n")
    batch = pa.record_batch(
        {"text": ["so Very Wrong!", "fine", "a坏b", "性", "badly", None, "坏"], "lang": ["en", "en", "zh", "zh", "en", "en", "fr"]}
    )
    result = opened(BadWords(lists=lists, language_column="lang"))(batch)
    assert result.details.to_pylist() == ["very wrong", None, "坏", None, None, None, None]
    assert set(result.errors) == {5}


def test_a_fraction_may_stay(tmp_path):
    """The same documents stay in every run, and about as many as were asked for."""
    lists = written(tmp_path, en="bad\n")
    batch = pa.record_batch({"text": [f"bad {row}" for row in range(2000)]})
    kept = [bad_documents(BadWords(lists=lists, keep_fraction=fraction), batch).count(None) for fraction in (0, 0.3, 1)]
    assert kept[0] == 0
    assert 500 < kept[1] < 700
    assert kept[2] == 2000
    operator = BadWords(lists=lists, keep_fraction=0.3)
    assert bad_documents(operator, batch) == bad_documents(operator, batch) != bad_documents(operator, batch, seed=1)


def test_null_language_is_the_default_one(tmp_path):
    """A document whose language is not told is judged by the default language's list; one without a list stays."""
    lists = written(tmp_path, en="bad\n")
    batch = pa.record_batch({"text": ["bad", "bad"], "lang": pa.array([None, "xx"])})
    assert bad_documents(BadWords(lists=lists, language_column="lang"), batch) == [REASON, None]


def test_lists_that_cannot_be_used(tmp_path):
    """An absent, empty or ill-formed list, and a language without one, are errors that name it."""
    lists = written(tmp_path, en="\n")
    for settings_, message in (
        ({"lists": lists}, "holds no word"),
        ({"lists": {"en": str(tmp_path / "absent")}}, "cannot be read"),
        ({"lists": {"en": str(tmp_path / "broken")}}, "cannot be read"),
        ({"lists": {"en": str(tmp_path / "long")}}, "1025 bytes"),
        ({"lists": lists, "language": "de"}, "no list for language 'de'"),
    ):
        (tmp_path / "broken").write_bytes(b"\xff\xfe\n")
        (tmp_path / "long").write_bytes(gzip.compress(b"x" * 1025))
        with pytest.raises(OperatorError, match=message):
            opened(BadWords(**settings_))
    with pytest.raises(ValidationError, match="no file for de"):
        BadWords(lists=lists, languages=["en", "de"])
    assert BadWords(lists="s3://lists/", languages=["en", "de"]).asset_uris() == ("s3://lists/en", "s3://lists/de")


def test_any_bytes_and_sizes_go_through():
    """Broken UTF-8 cut anywhere, and a text of 50 MB of nearly a phrase, end without a crash."""
    rng = random.Random(0)
    data = bytes(rng.choice(b"\xff\xc0\xe3\x80\x82\xce\xa3\xc4\xb0\xcf\x83ab \xf0\x90") for _ in range(30_000))
    offsets = sorted(rng.randrange(len(data)) for _ in range(3_000))
    broken = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(pa.array(offsets).buffers()[1]), pa.py_buffer(data))
    phrases = phrases_of([(["ab", "σς", "i\u0307a", "。", "\U00010400"], True), (["aab"], False)])
    for group in (0, 1):
        found = first_phrases(*text_buffers(broken), np.full(len(broken), group, np.int32), phrases, tables())
        assert len(found) == len(broken)
    large = pa.array(["a" * 50_000_000, "", "a"], pa.large_string())
    assert first_phrases(*text_buffers(large), np.ones(3, np.int32), phrases, tables()).tolist() == [-1, -1, -1]
