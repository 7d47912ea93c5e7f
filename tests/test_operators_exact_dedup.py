"""Exact deduplication: what counts as equal, and which document stays."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.exact_dedup import ExactDedup, normalized


def grouped(operator: ExactDedup, batch: pa.RecordBatch, file: int = 0) -> tuple[pa.RecordBatch, list[int]]:
    """Rows as the exchange hands them to `decide`, and the position in the batch of each."""
    keys = operator.open(ASSETS)(batch)
    places = [pa.array([file] * batch.num_rows, pa.int64()), pa.array(range(batch.num_rows), pa.int64())]
    rows = pa.RecordBatch.from_arrays([*places, *keys.columns], names=["file", "row", *keys.schema.names])
    rows = rows.filter(rows.column("key_hi").is_valid())
    rows = rows.sort_by([(name, "ascending") for name in ("key_hi", "key_lo", "file", "row")])
    return rows, rows.column("row").to_pylist()


def removed(operator: ExactDedup, batch: pa.RecordBatch) -> dict[int, int]:
    """Position of each removed document, and of the kept one that it was compared with."""
    rows, positions = grouped(operator, batch)
    verdicts = operator.decide(rows)
    assert verdicts.removed.dtype == verdicts.kept.dtype == verdicts.num_duplicates.dtype == np.int64
    assert verdicts.similarity.dtype == np.float32
    assert set(verdicts.similarity.tolist()) <= {1.0}
    return {positions[gone]: positions[kept] for gone, kept in zip(verdicts.removed, verdicts.kept, strict=True)}


def texts(*values: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(values, pa.large_string())})


def test_first_of_equal_texts_stays():
    """Later copies go, naming the first."""
    assert removed(ExactDedup(), texts("a", "b", "a", "A", "a", None, None)) == {2: 0, 4: 0}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "", None]), max_size=30))
def test_exactly_one_of_each_text_stays(values):
    """What is left holds each text once, and each removed document names an equal one that stays."""
    gone = removed(ExactDedup(), texts(*values))
    left = [value for row, value in enumerate(values) if row not in gone and value is not None]
    assert sorted(left) == sorted({value for value in values if value is not None})
    assert all(values[row] == values[kept] and kept not in gone for row, kept in gone.items())


def test_num_duplicates_counts_what_the_kept_document_stands_for():
    """Of three equal documents two were removed for the third."""
    rows, _ = grouped(ExactDedup(), texts("a", "a", "b", "a", "b", "c"))
    counts = ExactDedup().decide(rows).num_duplicates.tolist()
    assert sorted(counts) == [1, 2, 2]


@pytest.mark.parametrize(
    ("normalize", "same"),
    [
        ("none", {"a b"}),
        ("whitespace", {"a b", " a \u00a0\n b\u3000", "a\u2028b", "a\x85\x1cb"}),
        ("lowercase", {"a b", " a \u00a0\n b\u3000", "a\u2028b", "a\x85\x1cb", "A B"}),
        ("words", {"a b", " a \u00a0\n b\u3000", "a\u2028b", "a\x85\x1cb", "A B", "A, b!", "(a) \u2014 b"}),
    ],
)
def test_each_normalisation_ignores_what_it_says(normalize, same):
    """Texts that differ only in what is ignored are equal, others are not."""
    values = ["a b", " a \u00a0\n b\u3000", "a\u2028b", "a\x85\x1cb", "A B", "A, b!", "(a) \u2014 b", "ab", "a c"]
    gone = removed(ExactDedup(normalize=normalize), texts(*values))
    assert {values[row] for row in gone} | {"a b"} == same


def test_unicode_forms_are_one():
    """Composed and decomposed accents are the same text, but letters with and without them are not."""
    assert removed(ExactDedup(normalize="whitespace"), texts("\u00e9t\u00e9", "e\u0301te\u0301", "ete")) == {1: 0}


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing(text):
    """What is normal stays as it is."""
    for how in ("whitespace", "lowercase", "words"):
        once = normalized(pa.array([text], pa.large_string()), how)
        assert normalized(once, how).equals(once)


def test_unicode_space_is_what_python_splits_at():
    """Every character at which Python splits words is white space here."""
    spaces = [chr(code) for code in range(0x11000) if chr(code).isspace()]
    found = normalized(pa.array([f"a{space}b" for space in spaces], pa.large_string()), "whitespace")
    assert set(found.to_pylist()) == {"a b"}


def test_longest_stays_by_characters_not_bytes():
    """Four ASCII letters are longer than three that take nine bytes."""
    batch = pa.record_batch({"text": ["\u4f60\u597d\u4e16", "abcd", "ab"], "url": ["u", "u", "u"]})
    assert removed(ExactDedup(columns=["url"], keep="longest"), batch) == {0: 1, 2: 1}


BY = {
    "int": pa.array([-5, 3, None, 2], pa.int16()),
    "uint": pa.array([0, 2**64 - 2, None, 5], pa.uint64()),
    "float": pa.array([-0.5, 1e300, float("nan"), 0.0]),
    "decimal": pa.array([-1, 30, None, 20], pa.int64()).cast(pa.decimal128(21, 1)),
    "bool": pa.array([False, True, None, False]),
    "date": pa.array([date(1900, 1, 1), date(2024, 1, 2), None, date(2024, 1, 1)]),
    "time": pa.array([-5, 3, None, 2], pa.timestamp("ns", "UTC")),
    "string": pa.array(["2023-12-31T23:59", "2024-01-02", None, "2024-01-01"]),
    "close strings": pa.array(["2024-01-01T00:01", "2024-01-01T00:03", None, "2024-01-01T00:02"]),
    "dictionary": pa.array(["a", "\u00e9", None, "b"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", BY)
def test_highest_and_lowest_follow_the_order_of_values(kind):
    """The extreme value of any ordered type stays; a null or NaN never does while there is a value."""
    batch = pa.record_batch({"text": ["t", "t", "t", "t"], "by": BY[kind]})
    assert set(removed(ExactDedup(keep="highest", by="by"), batch).values()) == {1}
    assert set(removed(ExactDedup(keep="lowest", by="by"), batch).values()) == {0}


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=20))
def test_any_floats_are_ranked_as_numbers(values):
    """The kept document has the greatest number there is."""
    batch = pa.record_batch({"text": ["t"] * len(values), "by": pa.array(values, pa.float64())})
    gone = removed(ExactDedup(keep="highest", by="by"), batch)
    [stays] = set(range(len(values))) - set(gone)
    known = [value for value in values if value is not None]
    assert values[stays] == (max(known) if known else None)


def test_ties_go_by_content_then_by_place():
    """Where the policy does not decide, the same text stays in whatever order the documents lie, and the first of the same texts."""
    policy = ExactDedup(columns=["url"], keep="longest")
    kept = []
    for order in (["ab", "cd", "ef", "cd"], ["ef", "cd", "cd", "ab"]):
        gone = removed(policy, pa.record_batch({"text": order, "url": ["u"] * 4}))
        [stays] = set(range(4)) - set(gone)
        kept.append(order[stays])
        assert stays == order.index(order[stays])
    assert kept[0] == kept[1]


def test_earlier_files_come_first_even_negative_ones():
    """The inventory's order counts, in which documents of earlier versions may stand before the first file."""
    old, _ = grouped(ExactDedup(keep="longest"), texts("a"), file=-1)
    new, _ = grouped(ExactDedup(keep="longest"), texts("a", "a"), file=0)
    rows = pa.Table.from_batches([old, new]).combine_chunks().to_batches()[0]
    assert ExactDedup(keep="longest").decide(rows).kept.tolist() == [0, 0]


def test_within_keeps_one_for_each_value():
    """Equal texts in different dumps are not compared; an unknown dump is one of its own."""
    batch = pa.record_batch({"text": ["t"] * 6, "dump": ["x", "y", "x", None, None, ""]})
    assert removed(ExactDedup(within=["dump"]), batch) == {2: 0, 4: 3}


def test_several_columns_must_all_agree():
    """A null equals a null, but documents of which nothing is known are left alone."""
    batch = pa.record_batch({"text": ["t"] * 6, "a": ["x", "x", "x", None, None, None], "b": [1, 2, 1, 1, 1, None]})
    batch = pa.concat_batches([batch, batch.slice(5)])
    assert removed(ExactDedup(columns=["a", "b"]), batch) == {2: 0, 4: 3}


def test_null_keys_are_in_no_group_even_if_they_come():
    """Should rows without a key reach `decide`, they stay."""
    operator = ExactDedup()
    keys = operator.open(ASSETS)(texts(None, None, "a", "a"))
    rows = pa.RecordBatch.from_arrays([pa.array([0] * 4), pa.array(range(4)), *keys.columns], names=["file", "row", *keys.schema.names])
    assert operator.decide(rows).removed.tolist() == [3]


def test_nothing_to_decide():
    """No rows, no verdicts."""
    rows, _ = grouped(ExactDedup(), texts())
    assert len(ExactDedup().decide(rows).removed) == 0


def test_wrong_settings_say_what_to_do():
    """A policy without its column, a column without its policy, a column named twice."""
    with pytest.raises(ValidationError, match="name the column"):
        ExactDedup(keep="highest")
    with pytest.raises(ValidationError, match="remove `by`"):
        ExactDedup(by="score")
    with pytest.raises(ValidationError, match="more than once"):
        ExactDedup(columns=["url"], within=["url"])


def test_columns_that_cannot_be_used_are_named():
    """Missing, nested and orderless columns are one clear error each."""
    batch = pa.record_batch({"text": ["a"], "tags": [["x"]], "url": ["u"]})
    with pytest.raises(OperatorError, match="did you mean 'url'"):
        ExactDedup(columns=["urk"]).open(ASSETS)(batch)
    with pytest.raises(OperatorError, match="tags"):
        ExactDedup(columns=["tags"]).open(ASSETS)(batch)
    with pytest.raises(OperatorError, match="no order"):
        ExactDedup(keep="highest", by="tags").open(ASSETS)(batch)


def test_planted_duplicates_of_real_documents_are_found():
    """On real documents the survivors are exactly the distinct texts."""
    batch = real_documents("dups-00000", "multi-00000", limit=1000)
    batch = pa.concat_batches([batch, batch.slice(7, 100)])
    values = batch.column("text").to_pylist()
    gone = removed(ExactDedup(), batch)
    assert len(values) - len(gone) == len(set(values))
    assert all(values[row] == values[kept] for row, kept in gone.items())
