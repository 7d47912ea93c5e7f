"""Repair and normalization: exactly what the libraries would do, and only where they would do something."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

import ftfy
import numpy as np
import pyarrow as pa
import pytest
from ftfy.badness import BADNESS_RE
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, opened, real_documents
from pydantic import ValidationError

from operators import combining
from operators.kernels import normalize as kernels
from operators.kernels.normalize_patterns import UnreadableExpressionError, patterns
from operators.normalize import Ftfy, NormalizeText

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
EVERYTHING = Ftfy(fix_latin_ligatures=True, fix_character_width=True, uncurl_quotes=True, fix_line_breaks=True, unescape_html=True)
NOTHING = Ftfy(**dict.fromkeys(Ftfy.model_fields, False))
CONFIGS = {
    "datatrove": Ftfy(),
    "everything": EVERYTHING,
    "no-html": Ftfy(unescape_html=False),
    "only-html": NOTHING.model_copy(update={"unescape_html": "auto"}),
    "only-c1": NOTHING.model_copy(update={"fix_c1_controls": True}),
    "only-encoding": NOTHING.model_copy(update={"fix_encoding": True}),
}
GROUPS = (
    *("code-00000", "dups-00000", "edge-00000", "en-open-00000", "multi-00000", "multi-00001", "multi-lid-00000", "neardup-00000"),
    *("synthetic-00000", "web-thirdparty-00000", "web-thirdparty-00001"),
)


@cache
def function_of(changes: tuple[tuple[str, object], ...]):
    return opened(NormalizeText(**dict(changes)))


def normalized(*texts: str | None, **changes) -> list[str | None]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    return function_of(tuple(sorted(changes.items(), key=str)))(batch).batch.column("text").to_pylist()


def fixed(text: str, config: Ftfy) -> str:
    return ftfy.fix_text(text, ftfy.TextFixerConfig(**config.model_dump(), normalization=None))


def tidied(text: str, *, lf=False, controls=False, invisible=False, form=None, collapse=False, trim=False, newlines=None) -> str:
    """The steps behind ftfy, one regular expression each."""
    text = re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text) if lf else text
    text = re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]", "", text) if controls else text
    text = re.sub("[\u200b\u2060\ufeff\u00ad]", "", text) if invisible else text
    text = unicodedata.normalize(form, text) if form else text
    text = re.sub(r"[ \t]+", " ", text) if collapse else text
    text = re.sub(r"[ \t]+(?=\n|\Z)", "", text) if trim else text
    return re.sub(rf"\n{{{newlines},}}", "\n" * newlines, text) if newlines else text


def garbled(text: str, encoding: str) -> str:
    """A text read in the wrong encoding."""
    return text.encode("utf-8", "replace").decode(encoding, "replace")


MOJIBAKE = (
    "ÃÂâ€™œšžŸ¦¨´¸¼½¾ØÙàáéíóúñçßÐÎ×°²³µ·«»“”„‚…–—†‡ˆ‰‹›¢£¥©®¶§ªº¬¯¿¡ƒ˜ВГРСвЂўā√≈ΒΓβ€│┤═░Œœ"
    "ăąćčęěńňőřśşșţťůűźżž\u00a0\u00ad\u0081\u0085\u009d\ufffd"
)
SIGNS = [
    *("&amp;", "&#233;", "&#x80;", "&eacute;", "&EACUTE;", "&nbsp", "&unknown;", "\x1b[31m", "\x00", "\x12", "\x7f", "\ufeff", "\u2028"),
    *("ﬁ", "Ａ", "e\u0301", "\u0301", "ḱ", "가", "\u1100\u1161", "\u09c7\u09be", "ক\u09bc", "\u0344", "\u212b", "\u200b", "ﷺ"),
    *"aZ 0.,?!\n\t\r&;#<>",
]
ENCODINGS = ["latin-1", "cp1252", "cp1251", "cp1250", "cp1253", "cp1257", "mac-roman", "cp437"]
garbles = st.builds(garbled, st.text(max_size=12), st.sampled_from(ENCODINGS))
rich = st.lists(st.sampled_from(MOJIBAKE) | st.sampled_from(SIGNS) | garbles, max_size=14).map("".join)


@settings(max_examples=700, deadline=None)
@given(st.lists(rich | st.text(), max_size=3), st.sampled_from(sorted(CONFIGS)), st.sampled_from([None, *FORMS]))
def test_result_is_that_of_the_libraries(texts, config, form):
    """Whatever the settings and the text, the result is `ftfy.fix_text` and then `unicodedata.normalize`."""
    expected = [fixed(text, CONFIGS[config]) for text in texts]
    expected = [text if form is None else unicodedata.normalize(form, text) for text in expected]
    assert normalized(*texts, ftfy=CONFIGS[config], unicode_form=form) == expected


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", categories=["Mn", "Mc", "Lo", "Lm", "Ll", "Lu"]), max_size=30) | rich, max_size=3),
    st.sampled_from(FORMS),
)
def test_unicode_form_alone_is_that_of_the_library(texts, form):
    """Text rich in combining characters is brought into every form."""
    assert normalized(*texts, ftfy=None, unicode_form=form) == [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.parametrize("form", FORMS)
def test_no_character_is_taken_for_normalized_that_is_not(form):
    """Of every code point alone, and behind a letter, the quick check suspects all that the library changes."""
    chars = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    texts = ["\n".join(chars), "\n".join("e" + char for char in chars)]
    assert normalized(*texts, ftfy=None, unicode_form=form) == [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.parametrize("name", GROUPS)
def test_real_documents_become_what_ftfy_makes_of_them(name):
    """Real documents of every group, cut to what ftfy reads in reasonable time."""
    texts = [text[:6000] for text in real_documents(name, limit=60).column("text").to_pylist()]
    assert normalized(*texts) == [unicodedata.normalize("NFC", fixed(text, Ftfy())) for text in texts]


def suspicious(texts: list[str], found: kernels.Patterns, *, entities: bool = False) -> list[str]:
    """The lines that go to a library."""
    parts = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    data = np.frombuffer(b"".join(parts) or b"\0", np.uint8)
    offsets.flags.writeable = False
    _, begins, ends, _ = kernels.suspicious_lines(offsets, data, found, entities, entities)
    return [data[begin:end].tobytes().decode() for begin, end in zip(begins, ends, strict=True)]


@settings(max_examples=800, deadline=None)
@given(rich | st.text())
def test_lines_go_to_ftfy_just_if_its_expression_matches(text):
    """No line is looked at for nothing: the kernel reads what the expression reads, but for one sequence that it sees not only in front."""
    line = text.replace("\n", " ")
    assert suspicious([line], BADNESS) == [line] * bool(BADNESS_RE.search(line) or re.search("[ÃÂ] ", line))


BADNESS = patterns(BADNESS_RE.pattern, "", None)


def test_few_lines_of_real_documents_go_to_python():
    """In English documents under one line in a hundred is suspicious; that is what makes the operator fast."""
    from operators.normalize import _single

    texts = real_documents("en-open-00000", limit=2000).column("text").to_pylist()
    found = patterns(BADNESS_RE.pattern, _single(Ftfy()), "NFC", "&")
    lines = suspicious(texts, found, entities=True)
    assert len(lines) < 0.01 * sum(text.count("\n") + 1 for text in texts)


BLANKS = [*" \t\n\r\x85\u2028\u200b\ufeff\xad\x00\x1f\x7f\x9fé", "a", "e\u0301", "\r\n", "\u3000", "中"]
blank_texts = st.lists(st.lists(st.sampled_from(BLANKS), max_size=20).map("".join), max_size=3)
switches = st.tuples(*[st.booleans()] * 5)


@settings(max_examples=600, deadline=None)
@given(blank_texts, switches, st.sampled_from([None, 1, 2, 3]), st.sampled_from([None, "NFC", "NFKC"]))
def test_white_space_and_invisible_characters(texts, chosen, newlines, form):
    """Each setting is one regular expression, in the order that is documented."""
    lf, controls, invisible, collapse, trim = chosen
    if not any((*chosen, newlines, form)):
        return
    changes = {"line_breaks": "lf" if lf else "keep", "remove_control_chars": controls, "remove_invisible": invisible}
    changes |= {"collapse_spaces": collapse, "trim_lines": trim, "max_newlines": newlines, "unicode_form": form, "ftfy": None}
    wanted = {"lf": lf, "controls": controls, "invisible": invisible, "collapse": collapse, "trim": trim}
    expected = [tidied(text, form=form, newlines=newlines, **wanted) for text in texts]
    assert normalized(*texts, **changes) == expected


def test_steps_have_their_order():
    """ftfy first, then what goes, then the Unicode form, white space last."""
    text = "cafe\u200b\u0301 &amp;\u00a0  x \r\n\r\n\r\n\r\nâ€œend"
    changes = {
        "line_breaks": "lf",
        "remove_invisible": True,
        "unicode_form": "NFKC",
        "collapse_spaces": True,
        "trim_lines": True,
        "max_newlines": 2,
    }
    assert normalized(text, **changes) == ["café & x\n\n“end"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b\n&lt;", "a < b\n&lt;"),
        ("&lt;\na < b\n&lt;", "<\na < b\n&lt;"),
        ("&lt; <", "&lt; <"),
        ("&lt;", "<"),
        ("x <\nâ€œ&amp;", "x <\n“&amp;"),
        ("&amp;\n" * 3 + "<\n&amp;", "&\n" * 3 + "<\n&amp;"),
    ],
)
def test_entities_are_left_from_the_first_angle_bracket_on(text, expected):
    """What is markup stays markup, line by line as ftfy has it."""
    assert normalized(text) == [expected] == [fixed(text, Ftfy())]


def test_line_of_more_than_a_million_characters():
    """ftfy cuts such a line before it looks at it; so does the operator."""
    text = "é " * 500_001 + "schÃ¶n &amp; " + "x" * 300_000 + "&quot;\n" + "ok"
    assert normalized(text) == [unicodedata.normalize("NFC", fixed(text, Ftfy()))]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.text(max_size=3) | st.text("\u0301\u0316\u0344\u0308\u0f71\u0f73\u0f81\u0f72\u3099\u05b0", max_size=200), max_size=6).map(
        "".join
    ),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
)
def test_long_runs_of_marks_become_what_unicodedata_makes_of_them(text, form):
    """Marks that are put in order beforehand change nothing about the result."""
    assert combining.normalized(form, text * 8) == unicodedata.normalize(form, text * 8)


def test_a_letter_may_have_a_million_marks():
    """Marks of alternating classes, for which `unicodedata.normalize` takes hours, go through."""
    text = "a" + "\u0301\u0316" * 500_000
    assert normalized(text) == ["\u00e1" + "\u0316" * 500_000 + "\u0301" * 499_999]


def test_untouched_batch_comes_back_itself():
    """Where nothing changes nothing is copied; a null is an error; edits are told if asked for."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["plain", "schön", None, ""], pa.large_string())})
    result = opened(NormalizeText())(batch)
    assert result.batch is batch
    assert set(result.errors) == {2}
    told = opened(NormalizeText(keep_signals=True, trim_lines=True))
    texts = pa.RecordBatch.from_pydict({"text": pa.array(["a ", "b", None, "schÃ¶n"], pa.large_string())})
    found = told(texts).batch
    assert found.column("text").to_pylist() == ["a", "b", None, "schön"]
    assert found.column("text_normalized").to_pylist() == [True, False, None, True]


def test_null_rows_may_have_any_extent():
    """Bytes below a null are neither repaired nor shown."""
    buffers = [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 6, 10, 12], np.int64)), pa.py_buffer("ab\nab\nÃ©é".encode())]
    text = pa.LargeStringArray.from_buffers(3, buffers[1], buffers[2], buffers[0])
    assert opened(NormalizeText(max_newlines=1))(pa.RecordBatch.from_arrays([text], ["text"])).batch.column("text").to_pylist() == [
        "ab\nab\n",
        None,
        "é",
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=30)
        | st.lists(st.sampled_from([*b"a &;#<\n\r\t\xc2\xc3\x85\xad\xa0\xe2\x80\x8b\xa8\xef\xbb\xbf\xf0\xff"]), max_size=30).map(bytes),
        max_size=3,
    )
)
def test_any_bytes_go_through(parts):
    """Ill-formed text neither crashes nor reaches its neighbours."""
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    text = pa.LargeStringArray.from_buffers(len(parts), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts)))
    function = function_of(
        (("collapse_spaces", True), ("line_breaks", "lf"), ("max_newlines", 2), ("remove_invisible", True), ("trim_lines", True))
    )
    found = function(pa.RecordBatch.from_arrays([text], ["text"])).batch.column("text")
    alone = [function(pa.RecordBatch.from_arrays([text.slice(row, 1)], ["text"])).batch.column("text") for row in range(len(parts))]
    assert found.cast(pa.large_binary()).to_pylist() == [each.cast(pa.large_binary())[0].as_py() for each in alone]


@pytest.mark.parametrize("expression", ["a(b)é", "é*", r"\bé", "[a\\d]é", "ab"])
def test_expression_that_is_not_understood_is_refused(expression):
    """A future version of ftfy cannot make the operator pass over what that version would repair."""
    with pytest.raises(UnreadableExpressionError):
        patterns(expression, "", None)


def test_settings_that_do_nothing_are_refused():
    """An operator without a step is a mistake."""
    with pytest.raises(ValidationError, match="every step is switched off"):
        NormalizeText(ftfy=None, unicode_form=None)
    with pytest.raises(ValidationError, match="uncurl"):
        NormalizeText(ftfy={"uncurl": True})
    assert NormalizeText().open(ASSETS)
