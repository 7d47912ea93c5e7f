"""Token ids do not depend on batches, on what was tokenized before, or on how the text lies in memory; ill-formed text harms nobody."""

from __future__ import annotations

import json
from itertools import pairwise

import pyarrow as pa
import pytest
from corpora import custom, documents, finished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spoilt import good, made
from tokenizer_cases import gallery
from tokenizer_gallery import byte_level, spelled, trained, written
from tokenizer_texts import HARD, PROSE, RUNS, texts
from tokenizing import batch_of, expected, found, opened

from operators.tokenize import Tokenize

KINDS = (
    "pre-gpt2",
    "pre-llama3",
    "norm-nfc",
    "added-nfc-whitespace",
    "added-strip",
    "gap-unk-fused",
    "foreign-llama2",
    "foreign-wordpiece",
)
ROWS = [None, *HARD[::4], None, "", *RUNS[:3], "last", None]


@pytest.fixture(scope="session")
def path_of(tmp_path_factory):
    """The files of a few tokenizers, one of each kind of way to go."""
    folder = tmp_path_factory.mktemp("batches")
    cases = gallery(trained([PROSE * 3], 700, byte_level()))
    made = {name: written(cases[name], folder / f"{name}.json") for name in KINDS}

    def path_to(name):  # a dictionary of them all would be shown with each failure
        return made[name]

    return path_to


@pytest.mark.parametrize("name", KINDS)
def test_batches_can_be_cut_anywhere(path_of, name):
    """One row at a time, in halves, in sevens, in slices of larger arrays or copies of them: the ids are those of the whole."""
    function, batch = opened(path_of(name)), batch_of(ROWS)
    whole = found(function, batch)
    assert whole == expected(path_of(name), ROWS)
    for size in (1, 7, len(ROWS) // 2):
        bounds = [*range(0, len(ROWS), size), len(ROWS)]
        parts = [batch.slice(start, stop - start) for start, stop in pairwise(bounds)]
        assert [ids for part in parts for ids in found(function, part)] == whole
        copies = [batch_of(part.column("text").to_pylist()) for part in parts]
        assert [ids for part in copies for ids in found(function, part)] == whole


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_batch_has_the_same_columns(path_of, name):
    """No rows, all rows null and all rows empty give the columns that others have."""
    function = opened(path_of(name))
    schema = function(batch_of(ROWS)).batch.schema
    for rows in ([], [None], [None, None], ["", ""]):
        assert function(batch_of(rows)).batch.schema == schema
        assert found(function, batch_of(rows)) == expected(path_of(name), rows)
    assert found(function, batch_of(ROWS).slice(3, 0)) == []


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.large_string()], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_the_layout_of_text_does_not_matter(path_of, name, kind):
    """Strings of either width and views give the same ids, in slices too."""
    batch = batch_of(ROWS, kind)
    assert found(opened(path_of(name)), batch.slice(2, len(ROWS) - 5)) == expected(path_of(name), ROWS[2:-3])


def test_a_null_row_may_have_bytes(path_of):
    """What lies under a null is not looked at."""
    offsets, data = pa.py_buffer(b"".join(at.to_bytes(8, "little") for at in (0, 3, 6, 9))), pa.py_buffer(b"the\xff\xfe\xfdend")
    text = pa.LargeStringArray.from_buffers(3, offsets, data, pa.py_buffer(b"\x05"))
    for name in KINDS:
        assert found(opened(path_of(name)), pa.record_batch({"text": text})) == expected(path_of(name), ["the", None, "end"])


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
@given(first=st.lists(texts, max_size=5), second=st.lists(texts, max_size=5))
def test_what_came_before_does_not_matter(path_of, name, first, second):
    """Of two that are opened, each given the same batches in another order, both give the same ids every time."""
    one, other = opened(path_of(name)), opened(path_of(name))
    early, late = found(one, batch_of(first)), found(one, batch_of(second))
    assert found(other, batch_of(second)) == late
    assert found(other, batch_of(first)) == early == found(one, batch_of(first))


@pytest.mark.parametrize("name", KINDS)
def test_the_size_of_the_cache_does_not_matter(path_of, name):
    """With the smallest cache, one that is full at once, the ids are as with a large one; and again when all was seen."""
    least = next((each.ge for each in Tokenize.model_fields["cache_bytes"].metadata if hasattr(each, "ge")), 1)
    words = [f"w{number}x{number * 7919 % 10007} {number:x}" for number in range(1500)]
    rows = [*HARD, " ".join(words), *words[:100], PROSE, " ".join(words[::-1])]
    reference = expected(path_of(name), rows)
    for size in (least, least + 1000, 64 << 20):
        function = opened(path_of(name), cache_bytes=size)
        assert found(function, batch_of(rows)) == reference
        assert found(function, batch_of(rows[::-1])) == reference[::-1]


SPOIL = """
texts = batch.column("text").cast(pa.large_binary()).to_pylist()
spoilt = [text + bad if number % 5 == 2 else text for number, (text, bad) in enumerate(zip(texts, BAD * len(texts)))]
text = pa.array(spoilt, pa.large_binary()).view(pa.large_string())
return Result(batch.set_column(batch.schema.get_field_index("text"), batch.schema.field("text"), text))
"""
BAD = (b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xf0\x9f\x98")


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("name", ["pre-gpt2", "norm-nfc"])
def test_ill_formed_text_is_quarantined_alone(path_of, tmp_path, name):
    """Bytes that are no UTF-8, which only an operator before can bring, cost their rows; the rows beside them have their ids."""
    good(tmp_path, number=60)
    steps = [custom(tmp_path, f"BAD = {BAD!r}{SPOIL}", "spoils"), {"type": "tokenize", "tokenizer": str(path_of(name))}]
    output = finished(made(tmp_path, steps, execution={"max_quarantined_fraction": 1.0, "batch_bytes": "16MiB"}))
    gone = {(row, operator) for _, _, row, operator, _ in output.quarantined()}
    rows = documents(60, prefix="good")
    # Batches are row groups of 25 rows: the operator before counts within each.
    spoilt = {row for row in range(60) if row % 25 % 5 == 2}
    assert gone == {(row, "tokenize") for row in spoilt}
    kept = [row["text"] for number, row in enumerate(rows) if number not in spoilt]
    assert output.texts() == kept
    assert [row["input_ids"] for row in output.rows()] == expected(path_of(name), kept)


def test_vocabularies_need_no_file_twice(path_of, tmp_path):
    """Another tokenizer under the name of one that was opened before gives its own ids."""
    path = written(json.loads(path_of("pre-gpt2").read_text()), tmp_path / "tokenizer.json")
    before = found(opened(path), batch_of(["the the"]))
    changed = json.loads(path.read_text())
    changed["model"]["merges"] = []
    written(changed, path)
    assert before != found(opened(path), batch_of(["the the"])) == [[changed["model"]["vocab"][each] for each in spelled("the the")]]
