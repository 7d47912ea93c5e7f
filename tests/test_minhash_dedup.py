"""`minhash_dedup` by itself: its settings, and what its buckets find."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from operator_samples import ASSETS
from pydantic import ValidationError

from operators.minhash import MinhashDedup


def rows_of(operator, texts):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    keys = operator.open(ASSETS)(batch)
    places = [pa.array(np.zeros(len(texts), np.int64)), pa.array(np.arange(len(texts)))]
    return pa.RecordBatch.from_arrays([*places, *keys.columns], names=["file", "row", *keys.schema.names])


def removed(operator, texts):
    verdicts = operator.decide(rows_of(operator, texts))
    return dict(zip(verdicts.removed.tolist(), verdicts.kept.tolist(), strict=True))


@pytest.mark.parametrize("normalize", ["folded", "datatrove"])
def test_numbers_tell_documents_apart_unless_they_are_ignored(normalize):
    """Documents that differ in numbers alone are copies for datatrove's normalization, and none by default."""
    texts = [" ".join(f"row {number * 1000 + at} of the table" for at in range(30)) for number in range(2)]
    assert removed(MinhashDedup(normalize=normalize), texts) == ({1: 0} if normalize == "datatrove" else {})


def test_documents_without_a_word_stay():
    """Empty texts, texts of punctuation and nulls are duplicates of nothing; of fewer words than a shingle all words count."""
    assert removed(MinhashDedup(), ["", "", "...", "...", None, None, "two words", "Two  words!", "two other"]) == {7: 6}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 3}, "set rows too"),
        ({"bands": 200, "rows": 20}, "expected at most 1024"),
        ({"threshold": 0}, "greater than 0"),
        ({"within": ["a", "a"]}, "more than once"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    """With what was found and what to do."""
    with pytest.raises(ValidationError, match=message):
        MinhashDedup(**settings)
