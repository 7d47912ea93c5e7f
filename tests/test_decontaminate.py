"""Documents that hold items of evaluation sets."""

from __future__ import annotations

import gzip
import json
import random
import unicodedata
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import SHARED, opened
from pydantic import ValidationError

from operators.base import OperatorError
from operators.decontaminate import Decontaminate
from operators.kernels.buffers import text_buffers
from operators.kernels.overlap import ALONE, IGNORED, SEPARATES, find_runs, folded, folding, index_of, runs_of

EXACT = ("verbatim", "question-only", "case-punct", "whitespace", "whole-doc")
PIECES = [
    "a",
    "b",
    "A",
    "é",
    "e\u0301",
    "É",
    "ß",
    "SS",
    " ",
    "\n",
    "-",
    ".",
    "'",
    "\u2019",
    "1",
    "\u00bd",
    "\u5b57",
    "\u5b58",
    "\u3260",
    "\u33e0",
    "\u0e01",
]
PIECES += [
    "\u0e33",
    "\ud55c",
    "\u1112\u1161\u11ab",
    "\u00ad",
    "\u0915\u0940",
    "\ufdfa",
    "\ufb01",
    "\u0130",
    "\u212a",
    "\x00",
    "\u1000\u102c",
    "\u200d",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=10)


def words(text: str) -> list[str]:
    """The words of a text, one character after the other."""
    found, word = [], ""
    for char in text:
        for part in folded(char):
            if part == IGNORED:
                continue
            if part == SEPARATES or part & ALONE:
                found.append(word)
                word = ""
            if part & ALONE:
                found.append(chr(part - ALONE))
            elif part != SEPARATES:
                word += chr(part)
    return [word for word in [*found, word] if word]


def runs(text: str, longest: int, shortest: int) -> set[tuple[str, ...]]:
    """The runs of an item."""
    split = words(text)
    if len(split) < longest:
        return {tuple(split)} if len(split) >= shortest else set()
    return {tuple(split[at : at + longest]) for at in range(len(split) - longest + 1)}


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@settings(deadline=None, max_examples=500)
@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, max_size=4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_runs_found_are_the_runs_shared(items, texts, longest, shortest, data):
    """Any texts share with any items just the runs of words that plain lists of words share."""
    shortest = min(longest, shortest)
    texts = texts + [data.draw(st.sampled_from(PIECES)) + item + data.draw(st.sampled_from(PIECES)) for item in items]
    made = runs_of(*text_buffers(column(items)), longest, shortest, folding())
    expected = [runs(item, longest, shortest) for item in items]
    assert set(made.rows.tolist()) == {row for row, each in enumerate(expected) if each}
    index = index_of(made.keys, made.entries, made.first, made.second, longest)
    hits = find_runs(*text_buffers(column(texts)), longest, shortest, folding(), index)
    found = {(int(row), int(made.rows[entry])) for row, entry in zip(hits.rows, hits.entries, strict=True)}
    for row, text in enumerate(texts):
        split = words(text)
        for item, sought in enumerate(expected):
            shared = any(tuple(split[at : at + len(run)]) == run for run in sought for at in range(len(split)))
            assert ((row, item) in found) == shared, (text, items[item])


def test_runs_that_begin_inside_a_character_are_found():
    """A character that stands for several words, such as the day and the number of a date, may be where a run begins."""
    item, text = ["\u65e5 2 \u65e5"], ["ab\u33e0\u33e1"]  # "1\u65e5" and "2\u65e5" as one character each
    assert words(text[0]) == ["ab1", "\u65e5", "2", "\u65e5"]
    made = runs_of(*text_buffers(column(item)), 3, 3, folding())
    index = index_of(made.keys, made.entries, made.first, made.second, 3)
    assert find_runs(*text_buffers(column(text)), 3, 3, folding(), index).rows.tolist() == [0]


def test_words_do_not_depend_on_form():
    """Case, punctuation, apostrophes, diacritics, widths and Unicode form make no difference; scripts without spaces go by character."""
    same = ["Don't STOP\u2014the caf\u00e9, O\u2019Brien!", "dont stop the cafe\u0301 obrien", "\uff24ont  stop (the) cafe 'OBrien'\n"]
    assert {tuple(words(text)) for text in same} == {("dont", "stop", "the", "cafe", "obrien")}
    assert words("\u6211\u7231 Python3") == ["\u6211", "\u7231", "python3"]
    korean = "\ud55c\uad6d\uc5b4 \ubb38\uc7a5"
    assert words(korean) == words(unicodedata.normalize("NFD", korean))
    assert len(words(korean)) == 2
    assert len(words("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e")) == 2


def test_table_is_the_function():
    """The table that the kernel reads has what `folded` says of each assigned character, and of no other."""
    pages, values, longer = folding()
    for code in range(0, 0x110000, 7):
        value = int(values[(int(pages[code >> 8]) << 8) | (code & 255)])
        assigned = unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
        codes = tuple(longer[1 - value : 1 - value + longer[-value]].tolist()) if value < 0 else (value,)
        assert codes == (folded(chr(code)) if assigned else (SEPARATES,))


def eval_file(tmp_path, name: str, records: list[dict], *, zipped: bool = False) -> str:
    path = tmp_path / name
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if zipped else data)
    return str(path)


def texts_of(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


LONG = " ".join(f"word{number}" for number in range(20))
QUESTION = "How many ducks does the farmer have left today?"


@pytest.fixture
def small(tmp_path) -> str:
    return eval_file(
        tmp_path,
        "small.jsonl",
        [
            {"item": "long", "question": " ".join(LONG.split()[:5]), "answer": " ".join(LONG.split()[5:])},
            {"item": "short", "question": QUESTION, "answer": "two"},
            {"item": "tiny", "question": "Why?", "answer": "Because."},
        ],
    )


def test_drops_say_which_item(small):
    """A document with an item, across question and answer or a short question whole, goes; its item is named."""
    across = "x " + " ".join(LONG.upper().split()[4:17]) + ". y"
    batch = texts_of(
        across, f"so: {QUESTION.lower()}", "How many ducks does the farmer have left?", "Why? Because.", None, "", f"{across} {QUESTION}"
    )
    result = opened(Decontaminate(evals=[small]))(batch)
    assert result.reasons.to_pylist() == ["contaminated", "contaminated", None, None, None, None, "contaminated"]
    assert result.details.to_pylist() == ["small/long", "small/short", None, None, None, None, "small/long, small/short"]
    assert set(result.errors) == {4}
    assert result.batch.equals(batch)


def test_annotations_count(small):
    """With `annotate` nothing goes, and each match tells how much of its item there is."""
    result = opened(Decontaminate(evals={"mine": small}, annotate=True))(
        texts_of(LONG, "word3 " + " ".join(LONG.split()[4:18]), "", QUESTION)
    )
    assert result.reasons is None
    assert result.batch["contamination"].to_pylist() == [
        [{"eval": "mine", "item": "long", "ngrams_found": 8, "ngrams": 8}],
        [{"eval": "mine", "item": "long", "ngrams_found": 3, "ngrams": 8}],
        [],
        [{"eval": "mine", "item": "short", "ngrams_found": 1, "ngrams": 2}],
    ]


@pytest.mark.parametrize(("overlap", "reasons"), [(0, ["contaminated"] * 3), (0.6, ["contaminated", None, "contaminated"])])
def test_overlap_asks_for_more_of_an_item(small, overlap, reasons):
    """A fraction of the runs may be asked for; a short question found whole is enough by itself."""
    batch = texts_of(LONG, " ".join(LONG.split()[:14]), QUESTION)
    assert opened(Decontaminate(evals=[small], min_overlap=overlap))(batch).reasons.to_pylist() == reasons


def test_phrases_of_a_set_are_no_items(tmp_path):
    """Runs that many items share, such as an instruction, are not looked for."""
    records = [{"question": f"{LONG} number {number} of the items in this set that begin alike", "answer": "x"} for number in range(5)]
    path = eval_file(tmp_path, "alike.jsonl.gz", records, zipped=True)
    batch = texts_of(LONG, records[3]["question"])
    assert opened(Decontaminate(evals=[path], max_items=4))(batch).details.to_pylist() == [None, "alike/3"]
    assert opened(Decontaminate(evals=[path], max_items=5))(batch).details.to_pylist() == ["alike/0, alike/1, alike/2 and 2 more"] * 2


def test_other_fields_and_parquet(tmp_path):
    """Nested fields, lists of choices and Parquet files are read; ids default to places."""
    path = tmp_path / "set.parquet"
    records = [{"q": {"stem": " ".join(LONG.split()[:9]), "choices": LONG.split()[9:15]}, "n": 7}]
    pq.write_table(pa.Table.from_pylist(records), path)
    operator = Decontaminate(evals=[str(path)], fields=["q.stem", "q.choices", "n"])
    assert opened(operator)(texts_of(" ".join(LONG.split()[:15]) + " 7")).details.to_pylist() == ["set/0"]


def test_sets_that_cannot_be_used(tmp_path, small):
    """Each kind of unusable file is an error that says where and what to do."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "a"}\nnot json\n')
    cases = [
        ({"evals": [str(tmp_path / "absent")]}, "cannot be read"),
        ({"evals": [str(broken)]}, "line 2 cannot be read"),
        ({"evals": [eval_file(tmp_path, "list.jsonl", [["a"]])]}, "line 1 cannot be read"),
        ({"evals": [eval_file(tmp_path, "empty.jsonl", [])]}, "holds no item"),
        ({"evals": [eval_file(tmp_path, "tiny.jsonl", [{"question": "Why?"}])]}, "no item has 8 words"),
        ({"evals": [small], "fields": ["prompt"]}, r"record 0 of .* has no text in prompt; it has: item, question"),
    ]
    for settings_, message in cases:
        with pytest.raises(OperatorError, match=message):
            opened(Decontaminate(**settings_))
    with pytest.raises(ValidationError, match="give a mapping"):
        Decontaminate(evals=["a/test.jsonl", "b/test.jsonl"])


def all_evals() -> list[str]:
    files = sorted(str(path) for path in (SHARED / "data" / "evals").glob("*.jsonl"))
    if not files:
        pytest.skip(f"evaluation sets are absent: {SHARED / 'data' / 'evals'}")
    return files


def test_planted_contamination_is_found_and_nothing_else():
    """Of the planted items every exact one is found and named, no shuffled one; of other documents none."""
    judge = opened(Decontaminate(evals=all_evals(), annotate=True))
    truth = {row["id"]: row for row in pq.read_table(SHARED / "data" / "truth" / "contamination.parquet").to_pylist()}
    found: Counter[tuple[str, bool]] = Counter()
    for name in ("synthetic-00000", "en-open-00003", "web-thirdparty-00003", "multi-00003"):
        batch = judge(pq.read_table(SHARED / "data" / "docs" / f"{name}.parquet").combine_chunks().to_batches()[0]).batch
        for document, matches in zip(batch["id"].to_pylist(), batch["contamination"].to_pylist(), strict=True):
            planted = truth.get(document)
            if planted is None:
                assert matches == []
                continue
            item = (planted["eval"], str(planted["item"]))
            found[planted["mode"], item in {(match["eval"], match["item"]) for match in matches}] += 1
    assert {mode: found[mode, False] for mode in EXACT} == dict.fromkeys(EXACT, 0)
    assert {mode: found[mode, True] for mode in EXACT} == dict.fromkeys(EXACT, 20)
    assert found["none-same-topic", True] == 0
    assert found["half", True] >= 10
    assert found["one-word-changed", True] >= 10


def test_any_bytes_and_sizes_go_through(small):
    """Broken UTF-8 cut anywhere, one endless word, and separators without end neither crash nor match."""
    judge = opened(Decontaminate(evals=[small]))
    rng = random.Random(0)
    data = bytes(rng.choice(b"\xff\xc0\xe3\x80\x82\xe5\xad\x97\xf0\x90ab '\n") for _ in range(30_000))
    offsets = sorted(rng.randrange(len(data)) for _ in range(3_000))
    broken = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(pa.array(offsets).buffers()[1]), pa.py_buffer(data))
    assert judge(pa.record_batch({"text": broken})).reasons.null_count == len(broken)
    batch = texts_of("a" * 50_000_000, " ." * 1_000_000 + LONG, LONG.replace(" ", " " * 100_000), "\u5b57" * 100_000)
    assert judge(batch).reasons.to_pylist() == [None, "contaminated", "contaminated", None]


def test_many_hits_in_a_batch_are_all_counted(small):
    """More hits than there is room for at first are found all the same."""
    judge = opened(Decontaminate(evals=[small], annotate=True))
    matches = judge(texts_of(*[LONG] * 2000)).batch["contamination"].to_pylist()
    assert matches == [[{"eval": "small", "item": "long", "ngrams_found": 8, "ngrams": 8}]] * 2000


def test_a_set_behind_a_signed_url_is_named_by_its_path():
    """Sets' names stand in the tables of dropped documents, signatures nowhere."""
    assert list(Decontaminate(evals=["https://example.org/gsm8k?token=0123", "s3://evals/arc.test.jsonl"]).sets()) == ["gsm8k", "arc"]
