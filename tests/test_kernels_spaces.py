"""White space collapsed over Arrow buffers."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.spaces import collapse_spaces

SPACES = [chr(code) for code in range(0x110000) if chr(code).isspace()]
TEXTS = st.lists(st.none() | st.text(st.sampled_from(["a", "\u00e9", "\u200b", "\u4f60", "\U0001f600", "\u2080", *SPACES]), max_size=30))


@settings(deadline=None)
@given(TEXTS, st.data())
def test_collapses_as_split_and_join_do(values, data):
    """Any text in any slice reads as Python's own split and join have it."""
    start = data.draw(st.integers(0, len(values)))
    found = collapse_spaces(pa.array(values, pa.large_string()).slice(start))
    found.validate(full=True)
    assert found.to_pylist() == [None if text is None else " ".join(text.split()) for text in values[start:]]


def test_every_character_is_judged_as_python_does():
    """Each character of the first planes between two letters separates them exactly where Python's split does."""
    texts = [f"a{chr(code)}b" for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    assert collapse_spaces(pa.array(texts, pa.large_string())).to_pylist() == [" ".join(text.split()) for text in texts]


def test_arrays_without_rows_or_bytes():
    """Nothing in, nothing out."""
    assert collapse_spaces(pa.array([], pa.large_string())).to_pylist() == []
    assert collapse_spaces(pa.array([None, "", " "], pa.large_string())).to_pylist() == [None, "", ""]
