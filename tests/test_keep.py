"""The keep policy: which of several documents stays, whatever it is that makes them duplicates."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.base import OperatorError
from operators.dedup import Guards
from operators.exact_dedup import ExactDedup
from operators.keep import KeepPolicy, keep_keys


def order(policy: KeepPolicy, values: pa.Array, texts: list[str | None] | None = None) -> list[int]:
    """Rows in keep order, by a column `by` and their texts."""
    text = pa.array(["same"] * len(values) if texts is None else texts, pa.large_string())
    words = policy.order_words(pa.record_batch({"text": text, "by": values}), text)
    assert all(word.type == pa.uint64() and word.null_count == 0 for word in words.values())
    places = {"file": pa.array([0] * len(values), pa.int64()), "row": pa.array(range(len(values)), pa.int64())}
    rows = pa.record_batch(places | words)
    return np.lexsort(keep_keys(rows)).tolist()


def best(policy: KeepPolicy, values: list[object], kind: pa.DataType | None = None) -> object:
    """The value of the document that stays."""
    return values[order(policy, pa.array(values, kind))[0]]


def test_first_needs_no_words():
    """Documents that stay by their place are not ranked."""
    text = pa.array(["a", "b"], pa.large_string())
    assert KeepPolicy().order_words(pa.record_batch({"text": text}), text) == {}


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.timestamp("us"), pa.timestamp("ns", "UTC")], ids=str
)
@pytest.mark.parametrize("keep", ["highest", "lowest"])
def test_null_is_worse_than_any_value_even_the_most_extreme(kind, keep):
    """A document with a value stays before one without, though the value be the worst that there is."""
    low, high = {"int8": (-128, 127), "uint64": (0, 2**64 - 1)}.get(str(kind), (-(2**63), 2**63 - 1))
    if pa.types.is_floating(kind):
        low, high = -float("inf"), float("inf")
    worst = low if keep == "highest" else high
    plain = pa.int64() if pa.types.is_temporal(kind) else kind
    values = pa.array([None, worst], plain).cast(kind)
    assert order(KeepPolicy(keep=keep, by="by"), values)[0] == 1


def test_nan_and_an_empty_string_against_null():
    """NaN is as bad as null; an empty string is a value."""
    assert best(KeepPolicy(keep="lowest", by="by"), [float("nan"), None, 3.0]) == 3.0
    assert best(KeepPolicy(keep="highest", by="by"), [None, ""]) == ""


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_are_in_their_order(values):
    """All of the order follows the values, not only the best."""
    found = [values[row] for row in order(KeepPolicy(keep="highest", by="by"), pa.array(values, pa.int64()))]
    assert found == sorted(values, reverse=True)


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1))
def test_strings_are_in_the_order_of_their_bytes(values):
    """Short strings sort as UTF-8 does, up to zero bytes at their ends."""
    found = [values[row].encode().rstrip(b"\0") for row in order(KeepPolicy(keep="lowest", by="by"), pa.array(values, pa.string()))]
    assert found == sorted(found)


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-02", "2024-01-02T00:00:01", "2023-12-31T23:59:59"],
        ["20240102", "2024-01-03", None, "2024-01"],
        ["2024-05-06T07:08:09Z", "2024-05-06T07:08:10Z", "2024-05-06T07:08:08Z"],
        ["2024-05-06 07:08:09.25+02:00", "2024-05-06 07:08:09.5-01:00", "2024-05-06 07:08:09+02:00"],
        ["2023", "2024", "Mon, 01 Jan 2099", "n/a", ""],
        [date(2023, 1, 1), date(2024, 1, 1), None],
        [datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, 0, 0, 1, tzinfo=UTC), None],
    ],
)
def test_newest_is_the_latest_date(values):
    """Dates, times and ISO 8601 strings to parts of a second; what is no date is worse than any."""
    assert best(KeepPolicy(keep="newest", by="by"), values) == values[1]


def test_newest_refuses_numbers():
    """A column of numbers has no newest value, and the message says what to do."""
    with pytest.raises(OperatorError, match=r"int64.*'highest'"):
        order(KeepPolicy(keep="newest", by="by"), pa.array([1, 2]))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_priority_follows_the_list_then_others_then_null(kind):
    """Values of the list in its order, other values after them all, nulls last."""
    policy = KeepPolicy(keep="priority", by="by", priority=["wiki", "web"])
    values = [None, "zzz", "web", "", "wiki"]
    column = pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    found = [values[row] for row in order(policy, column)]
    assert found[:2] == ["wiki", "web"]
    assert set(found[2:4]) == {"zzz", ""}
    assert found[4] is None


def test_priority_of_integers():
    """Whole numbers are named as they are written."""
    assert best(KeepPolicy(keep="priority", by="by", priority=["7", "1"]), [1, None, 7, 9]) == 7


def test_ties_go_to_the_smaller_hash_of_the_text_in_any_order():
    """Where the rule does not decide, the same text stays wherever it lies."""
    policy = KeepPolicy(keep="lowest", by="by")
    texts = ["ant", "bee", "cat", "dog"]
    forward = [texts[row] for row in order(policy, pa.array([1] * 4), texts)]
    backward = [texts[::-1][row] for row in order(policy, pa.array([1] * 4), texts[::-1])]
    assert forward == backward


def test_doc_key_breaks_ties_before_the_place():
    """Documents of the same rank and text go by their identity's bytes, then by file and row."""
    keys = [bytes([0, 0, 255]) + bytes(13), bytes([0, 1, 0]) + bytes(13), bytes([0, 0, 255]) + bytes(13), bytes(15) + b"\1"]
    columns = {"file": pa.array([0, 0, 0, 1]), "row": pa.array([3, 1, 2, 0]), "tie": pa.array([5, 5, 5, 5], pa.uint64())}
    rows = pa.record_batch(columns | {"doc_key": pa.array(keys, pa.binary(16))})
    assert np.lexsort(keep_keys(rows)).tolist() == [3, 2, 0, 1]
    assert np.lexsort(keep_keys(rows.slice(1))).tolist() == [2, 1, 0]
    assert np.lexsort(keep_keys(rows.drop_columns(["doc_key"]))).tolist() == [1, 2, 0, 3]


def test_decide_uses_doc_keys_where_there_are_any():
    """Of the same texts the one with the smallest doc_key stays, whatever its place."""
    operator = ExactDedup(keep="longest")
    same = {name: pa.array([7, 7, 7], pa.uint64()) for name in ("key_hi", "key_lo", "rank", "tie")}
    rows = pa.record_batch({"file": pa.array([0, 0, 1]), "row": pa.array([0, 1, 0])} | same)
    assert operator.decide(rows).kept.tolist() == [0, 0]
    keys = pa.array([bytes(15) + bytes([byte]) for byte in (9, 2, 5)], pa.binary(16))
    assert operator.decide(rows.append_column("doc_key", keys)).kept.tolist() == [1, 1]


def test_columns_of_words_do_not_depend_on_the_rows():
    """An empty batch has the columns of a full one, for every policy and type."""
    for policy, kind in [
        (KeepPolicy(keep="longest"), pa.string()),
        (KeepPolicy(keep="newest", by="by"), pa.string()),
        (KeepPolicy(keep="newest", by="by"), pa.null()),
        (KeepPolicy(keep="highest", by="by"), pa.int64()),
        (KeepPolicy(keep="lowest", by="by"), pa.float32()),
        (KeepPolicy(keep="priority", by="by", priority=["a"]), pa.string()),
    ]:
        full = pa.record_batch({"text": pa.array(["a", None], pa.large_string()), "by": pa.nulls(2, kind)})
        words = [policy.order_words(batch, batch.column("text")) for batch in (full, full.slice(0, 0))]
        assert list(words[0]) == list(words[1])


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"keep": "newest"}, "name the column"),
        ({"keep": "priority", "priority": ["a"]}, "name the column"),
        ({"by": "x"}, "remove `by`"),
        ({"keep": "longest", "by": "x"}, "remove `by`"),
        ({"keep": "priority", "by": "x"}, "list the values"),
        ({"keep": "highest", "by": "x", "priority": ["a"]}, "remove them"),
        ({"keep": "priority", "by": "x", "priority": ["a", "b", "a"]}, "'a' more than once"),
        ({"within": ["a", "a"]}, "more than once"),
        ({"num_duplicates": ""}, "at least 1"),
        ({"guards": {"max_source_share": 1.5}}, "less than or equal to 1"),
        ({"guards": {"max_key_share": 0}}, "greater than 0"),
        ({"guards": {"on_breach": "stop"}}, "'warn' or 'fail'"),
    ],
)
def test_settings_that_contradict_are_refused_with_the_remedy(wrong, remedy):
    """What cannot be meant is an error that says what to change."""
    with pytest.raises(ValidationError, match=remedy):
        ExactDedup(**wrong)


def test_guards_can_be_turned_off():
    """Null turns a limit off."""
    guards = ExactDedup(guards=Guards(max_source_share=None, max_removed_for=None, max_key_share=None)).guards
    assert (guards.max_source_share, guards.max_removed_for, guards.max_key_share) == (None, None, None)
