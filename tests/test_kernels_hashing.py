"""Hashes of columns: the reference's values, and one value one hash whatever its layout."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.hashing import UnhashableError, combine, hash_bytes


def pairs(hashes):
    return list(zip(*(half.tolist() for half in hashes), strict=True))


def reference(value):
    return (0, 0) if value is None else mmh3.hash64(value, 0, signed=False)


def test_every_tail_length_matches_the_reference():
    """Lengths around the 16-byte blocks hash as mmh3 hashes them."""
    values = [bytes(range(size)) for size in range(100)]
    assert pairs(hash_bytes(pa.array(values, pa.large_binary()))) == [reference(value) for value in values]


@settings(deadline=None)
@given(st.lists(st.none() | st.binary(max_size=80)), st.data())
def test_any_bytes_in_any_slice_match_the_reference(values, data):
    """Nulls hash to zero and a slice hashes as its values do, wherever it lies in its buffers."""
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        array = pa.array(values, kind)
        assert pairs(hash_bytes(array.slice(start, stop - start))) == [reference(value) for value in values[start:stop]]


@settings(deadline=None)
@given(st.lists(st.none() | st.text()))
def test_layouts_of_text_hash_alike(values):
    """string, large_string, string_view and dictionary are four layouts of the same values."""
    expected = pairs(combine([pa.array(values, pa.large_string())]))
    for kind in (pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        assert pairs(combine([pa.array(values, pa.string()).cast(kind)])) == expected


def test_key_is_the_documented_encoding():
    """The key of a row is a chain over (state, tag, value), so that another implementation can make it."""
    first = mmh3.hash64(struct.pack("<6Q", 0, 0, 1, 0, 5, 0), 0, signed=False)
    text = mmh3.hash64("a", 0, signed=False)
    expected = mmh3.hash64(struct.pack("<6Q", *first, 4, *text, 0), 0, signed=False)
    assert pairs(combine([pa.array([5]), pa.array(["a"])])) == [expected]


def test_width_of_numbers_does_not_matter():
    """Equal integers of any width have one key, as have equal floats; zero has one sign and NaN one value."""
    small = pairs(combine([pa.array([1, 0, 100], pa.int8())]))
    for kind in (pa.int32(), pa.int64(), pa.uint16(), pa.uint64()):
        assert pairs(combine([pa.array([1, 0, 100], kind)])) == small
    floats = pairs(combine([pa.array([0.5, -0.0, float("nan")], pa.float32())]))
    other_nan = np.array([0.5, 0.0, 0.0])
    other_nan.view(np.uint64)[2] = 0xFFF8000000000001
    assert pairs(combine([pa.array(other_nan)])) == floats


def test_values_that_only_look_alike_differ():
    """Kinds, nulls, signs and the border between columns all count."""
    columns = [
        [pa.array([1])],
        [pa.array([1.0])],
        [pa.array([True])],
        [pa.array(["1"])],
        [pa.array([b"1"])],
        [pa.array([0])],
        [pa.array([None], pa.int64())],
        [pa.array([""])],
        [pa.array([-1])],
        [pa.array([2**64 - 1], pa.uint64())],
        [pa.array([Decimal("1.0")])],
        [pa.array([date(1970, 1, 2)])],
        [pa.array([86_400_000_000], pa.timestamp("us"))],
        [pa.array([datetime(1970, 1, 2, tzinfo=UTC)])],
        [pa.array(["a"]), pa.array(["bc"])],
        [pa.array(["ab"]), pa.array(["c"])],
        [pa.array(["abc"])],
        [pa.array([""]), pa.array(["abc"])],
        [pa.array(["abc"]), pa.array([""])],
        [pa.array(["abc"]), pa.array([None], pa.string())],
    ]
    keys = [pairs(combine(each))[0] for each in columns]
    assert len(set(keys)) == len(keys)


def test_nulls_of_every_type_are_the_same_null():
    """A column that is null throughout a file agrees with one that is typed."""
    assert (
        pairs(combine([pa.nulls(1)])) == pairs(combine([pa.array([None], pa.string())])) == pairs(combine([pa.array([None], pa.date32())]))
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.float16(), np.float16(1.5)),
        (pa.time32("s"), 1),
        (pa.duration("us"), 1),
        (pa.binary(3), b"abc"),
        (pa.decimal256(50), Decimal(1)),
        (pa.bool_(), True),
    ],
    ids=str,
)
def test_rarer_types_can_be_keys(kind, value):
    """Every type that is not nested has keys, nulls included."""
    first, second = pairs(combine([pa.array([value, None], kind)]))
    assert first != second


def test_nested_columns_are_refused():
    """A list has no canonical encoding here, and the error says which type it was."""
    with pytest.raises(UnhashableError, match="list<"):
        combine([pa.array([[1]])])


def test_empty_arrays_and_arrays_of_empty_values():
    """Arrays without rows or without bytes need no buffers."""
    assert pairs(hash_bytes(pa.array([], pa.string()))) == []
    assert pairs(hash_bytes(pa.array(["", ""], pa.string()))) == [(0, 0)] * 2
    assert pairs(combine([pa.array([], pa.string())])) == []
