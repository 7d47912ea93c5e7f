"""Passages over bytes: which there are, how they are hashed, and texts without some of them, against plain Python."""

from __future__ import annotations

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, real_documents

from operators.base import OperatorError
from operators.exact_dedup import normalized
from operators.kernels.passages import LINES, MAPPED, PARAGRAPHS, byte_map, cut_passages, find_passages
from operators.line_dedup import LineDedup
from operators.paragraph_dedup import ParagraphDedup
from operators.passages import KEYS, PassageCounts, PassageOperator, PassageRows, fold, merged

OPERATORS = [LineDedup, ParagraphDedup]
WORDS = [
    *(
        "a",
        "b",
        "A",
        "one two",
        "one  two",
        "one\ttwo",
        "don't",
        "\u00e9",
        "e\u0301",
        "\u4f60\u597d",
        "\u0130",
        "\ufb01",
        "\x01",
        "\0",
        "-",
        "!",
        "7",
    ),
    *(" ", "  ", "\t", "\r", "\x0b", "\x1c", "\x85", "\u00a0", "\u2028", "\u3000", "\n", "\n", "\n\n", "\n \n", "\n\u3000\n"),
]
TEXT = st.lists(st.sampled_from(WORDS), max_size=25).map("".join) | st.text(max_size=30)
HOWS = st.sampled_from(["none", "whitespace", "lowercase", "words"])


# --- the reference


def lines(text: str) -> list[str]:
    return text.split("\n")


def paragraphs(text: str) -> list[str]:
    """Each paragraph of a text."""
    return [passage for passage, _ in paragraphs_with_gaps(text)[1]]


def paragraphs_with_gaps(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What is before the first paragraph, and each one with what is behind it up to the next."""
    found: list[list[str]] = []
    pieces = [line + "\n" for line in text.split("\n")]
    head, is_inside = "", False
    for line in pieces:
        if line.strip() and not is_inside:
            found.append([line, ""])
        elif line.strip():
            found[-1][0] += line
        elif found:
            found[-1][1] += line
        else:
            head += line
        is_inside = bool(line.strip())
    if not found:
        return text, []
    found[-1][1] = found[-1][1] + "\0"  # the last line feed is not in the text
    moved = [(passage[:-1], "\n" + gap) for passage, gap in found]
    return head, [(passage, gap.replace("\n\0", "")) for passage, gap in moved]


def expected_keys(texts: list[str | None], operator: PassageOperator) -> list[tuple[int, int, int, int]]:
    """Document, number and hash of each passage that may go."""
    split = lines if operator.kind == "lines" else paragraphs
    passages = [
        (index, number, passage.strip())
        for index, text in enumerate(texts)
        for number, passage in enumerate(split(text or ""))
        if len(passage.strip()) >= operator.min_chars
    ]
    compared = normalized(pa.array([passage for *_, passage in passages], pa.large_string()), operator.normalize).to_pylist()
    return [
        (index, number, *mmh3.hash64(text.encode(), 0, signed=False))
        for (index, number, _), text in zip(passages, compared, strict=True)
        if text
    ]


def without(text: str, kind: str, numbers: list[int]) -> str:
    """The text without some passages."""
    if kind == "lines":
        return "\n".join(line for number, line in enumerate(lines(text)) if number not in numbers)
    head, found = paragraphs_with_gaps(text)
    stay = [list(piece) for number, piece in enumerate(found) if number not in numbers]
    if not stay:
        return ""
    stay[-1][1] = found[-1][1]
    return head + "".join(map("".join, stay))


# --- keys


def keys_of(operator: PassageOperator, texts: list[str | None]) -> list[tuple[int, int, int, int]]:
    rows = operator.open(ASSETS)(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    assert rows.schema.equals(KEYS)
    return list(zip(*(rows.column(name).to_pylist() for name in KEYS.names), strict=True))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.none() | TEXT, max_size=4), st.sampled_from(OPERATORS), HOWS, st.sampled_from([1, 2, 5]))
def test_keys_are_the_hashes_of_normalised_passages(texts, cls, how, min_chars):
    """Every passage that is long enough has a row with its number and the MurmurHash3 of what is compared; others have none."""
    operator = cls(normalize=how, min_chars=min_chars)
    assert keys_of(operator, texts) == expected_keys(texts, operator)


@pytest.mark.parametrize("cls", OPERATORS)
@pytest.mark.parametrize("how", ["none", "whitespace", "lowercase", "words"])
def test_keys_of_real_documents(cls, how):
    """The same on real pages and translations."""
    texts = real_documents("web-thirdparty-00001", "multi-00001", "edge-00000", limit=40).column("text").to_pylist()
    operator = cls(normalize=how, min_chars=10)
    assert keys_of(operator, texts) == expected_keys(texts, operator)


def test_paragraphs_of_the_reference_are_runs_of_lines():
    """The reference itself, on one example."""
    assert paragraphs_with_gaps("\n \na\nb\n\n \nc\n\n") == ("\n \n", [("a\nb", "\n\n \n"), ("c", "\n\n")])
    assert paragraphs("  \n") == []


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from(OPERATORS), st.data())
def test_rows_do_not_depend_on_the_batch(texts, cls, data):
    """A slice of a batch has the rows of its documents."""
    operator = cls(min_chars=1)
    at = data.draw(st.integers(0, len(texts)))
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    parts = [operator.open(ASSETS)(part).to_pylist() for part in (batch.slice(0, at), batch.slice(at))]
    shifted = [row | {"index": row["index"] + at} for row in parts[1]]
    assert parts[0] + shifted == operator.open(ASSETS)(batch).to_pylist()


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=60) | st.lists(st.sampled_from([b"\n", b"a", b"\xe3\x80", b"\x80", b"\xff", b" "])).map(b"".join), max_size=4
    ),
    st.data(),
)
def test_any_bytes_pass(pieces, data):
    """Bytes that are no text neither crash a kernel nor lead it out of its row, and cut texts are never longer."""
    offsets, joined = np.cumsum([0, *map(len, pieces)]), np.frombuffer(b"".join(pieces) or b"\0", np.uint8)
    kind = data.draw(st.sampled_from([LINES, PARAGRAPHS]))
    found = find_passages(offsets, joined, np.ones(len(pieces), np.bool_), kind, MAPPED, 1, byte_map(lowercase=True, words=True))
    assert (found.begins < found.ends).all()
    assert (found.begins >= offsets[found.documents]).all()
    assert (found.ends <= offsets[found.documents + 1]).all()
    numbers = np.array(data.draw(st.lists(st.integers(0, 9), unique=True).map(sorted)) if pieces else [], np.int32)
    cut = cut_passages(offsets, joined, kind, np.zeros(len(numbers), np.int64), numbers)
    assert (np.diff(cut.offsets) <= np.diff(offsets)).all()
    assert cut.num_passages <= len(numbers)


# --- editing


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from(OPERATORS), st.data(), st.integers(0, 4))
def test_cut_texts_are_those_without_the_passages(texts, cls, data, min_remaining_chars):
    """What stays is what the rule says, characters are counted, and texts of which nothing is cut keep their bytes."""
    operator = cls(min_remaining_chars=min_remaining_chars)
    counts = [len(lines(text) if operator.kind == "lines" else paragraphs(text)) for text in texts]
    chosen = [data.draw(st.lists(st.integers(0, max(count - 1, 0)), unique=True, max_size=count).map(sorted)) for count in counts]
    documents = np.repeat(np.arange(len(texts)), [len(numbers) for numbers in chosen])
    edited = operator.edit(
        pa.array(texts, pa.large_string()), documents, np.array([number for numbers in chosen for number in numbers], np.int32)
    )
    wanted = [without(text, operator.kind, numbers) if numbers else text for text, numbers in zip(texts, chosen, strict=True)]
    assert edited.texts.to_pylist() == wanted
    assert edited.chars_removed.tolist() == [len(text) - len(left) for text, left in zip(texts, wanted, strict=True)]
    cut = [bool(numbers) and len(left.strip()) < min_remaining_chars for numbers, left in zip(chosen, wanted, strict=True)]
    assert edited.emptied.tolist() == cut


@pytest.mark.parametrize(
    ("cls", "numbers", "left"),
    [
        (LineDedup, [0], "\nb\n \n\nc\nd\n"),
        (LineDedup, [2], "a\n\n \n\nc\nd\n"),
        (LineDedup, [5, 6], "a\n\nb\n \n\n"),
        (LineDedup, [0, 2, 5, 6], "\n \n\n"),
        (ParagraphDedup, [0], "b\n \n\nc\nd\n"),
        (ParagraphDedup, [1], "a\n\nc\nd\n"),
        (ParagraphDedup, [2], "a\n\nb\n"),
        (ParagraphDedup, [1, 2], "a\n"),
        (ParagraphDedup, [0, 1, 2], ""),
    ],
)
def test_what_becomes_of_blank_lines(cls, numbers, left):
    """A line goes with its line feed; a paragraph with the blank lines behind it, or before it at the end."""
    texts = pa.array(["a\n\nb\n \n\nc\nd\n"], pa.large_string())
    assert cls().edit(texts, np.zeros(len(numbers), np.int64), np.array(numbers, np.int32)).texts.to_pylist() == [left]


def test_nothing_to_cut_gives_the_very_texts():
    """Without passages to cut no byte is copied, and nulls stay nulls."""
    texts = pa.array(["a", None], pa.large_string())
    edited = LineDedup().edit(texts, np.zeros(0, np.int64), np.zeros(0, np.int32))
    assert edited.texts is texts
    assert not edited.emptied.any()
    assert LineDedup().edit(texts, np.array([0]), np.array([0], np.int32)).texts.to_pylist() == ["", None]


@pytest.mark.parametrize(("documents", "passages"), [([0], [2]), ([7], [0]), ([0, 0], [1, 0]), ([0, 0], [0, 0])])
@pytest.mark.parametrize("cls", OPERATORS)
def test_a_passage_that_is_not_there_is_an_error(cls, documents, passages):
    """Texts that are not those the keys were made of are never edited by guess."""
    with pytest.raises(OperatorError, match="the same text twice"):
        cls().edit(pa.array(["a\n\nb"[:1]], pa.large_string()), np.array(documents), np.array(passages, np.int32))


# --- counting


def rows_of(occurrences: list[tuple[int, int, int, int, int]]) -> PassageRows:
    """Occurrences (key_hi, key_lo, file, row, passage), sorted as the engine sorts them."""
    table = np.array(sorted(occurrences), np.int64).reshape(-1, 5)
    return PassageRows(*(table[:, column].astype(kind) for column, kind in enumerate((np.uint64, np.uint64, np.int64, np.int64, np.int32))))


OCCURRENCES = st.lists(st.tuples(*(st.integers(0, most) for most in (1, 2, 1, 2, 3))), unique=True, max_size=40)


@settings(deadline=None, max_examples=300)
@given(OCCURRENCES, st.integers(1, 4), st.sampled_from(["first", "none"]))
def test_frequent_passages_go(occurrences, min_documents, keep):
    """A passage goes if enough documents have it: all of it, or all but its first occurrence."""
    if keep == "none" and min_documents == 1:
        return
    rows = rows_of(occurrences)
    removed = LineDedup(min_documents=min_documents, keep=keep).decide_passages(rows)
    table = sorted(occurrences)
    wanted = []
    for position, (*key, file, row, passage) in enumerate(table):
        same = [other[2:] for other in table if other[:2] == tuple(key)]
        is_frequent = len({place[:2] for place in same}) >= min_documents
        if is_frequent and (keep == "none" or (file, row, passage) != same[0]):
            wanted.append(position)
    assert removed.dtype == np.int64
    assert removed.tolist() == wanted


@settings(deadline=None, max_examples=300)
@given(OCCURRENCES, st.data(), st.integers(1, 3))
def test_counts_folded_in_pieces_are_those_of_all(occurrences, data, min_documents):
    """Wherever the stream of places is cut, in the midst of a document too, the counts and the judgement are the same."""
    stream = sorted(occurrences, key=lambda each: each[2:])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    chunks = [rows_of(stream[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    counts = fold(chunks[0])
    for chunk in chunks[1:]:
        counts = merged(counts, fold(chunk))
    whole = fold(rows_of(stream))
    for name in PassageCounts.__slots__:
        assert getattr(counts, name).tolist() == getattr(whole, name).tolist()
        assert getattr(counts, name).dtype == getattr(whole, name).dtype
    operator = LineDedup(min_documents=min_documents)
    removed = []
    for chunk in chunks:
        rows = list(zip(*(getattr(chunk, name).tolist() for name in PassageRows.__slots__), strict=True))
        removed += [rows[position] for position in operator.judge(chunk, counts.frequent(min_documents)).tolist()]
    everything = sorted(occurrences)
    assert sorted(removed) == [everything[position] for position in operator.decide_passages(rows_of(stream)).tolist()]
