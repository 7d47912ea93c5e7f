"""The length filter."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS
from pydantic import ValidationError

from operators.length import LengthFilter


@settings(deadline=None)
@given(st.lists(st.text(max_size=12)), st.integers(0, 6), st.integers(6, 12) | st.none())
def test_judges_as_len_does(texts, low, high):
    """A document stays if Python's len of its text is within the bounds, both included."""
    result = LengthFilter(min_chars=low, max_chars=high).open(ASSETS)(pa.record_batch({"text": pa.array(texts, pa.string())}))
    expected = ["too_short" if len(text) < low else "too_long" if high is not None and len(text) > high else None for text in texts]
    assert result.reasons.to_pylist() == expected


def test_bounds_that_exclude_everything_are_refused():
    """The message says both numbers and what follows."""
    with pytest.raises(ValidationError, match=r"max_chars \(10\) is below min_chars \(100\); no document could pass"):
        LengthFilter(min_chars=100, max_chars=10)


def test_a_limit_of_zero_is_a_limit():
    """`max_chars: 0` keeps empty documents only."""
    result = LengthFilter(max_chars=0).open(ASSETS)(pa.record_batch({"text": ["", "a"]}))
    assert result.reasons.to_pylist() == [None, "too_long"]
