"""A fraction of the documents, drawn by hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import FakeAssets, opened
from pydantic import ValidationError

from operators.base import OperatorError
from operators.sample import Sample

NUM_ROWS = 20_000


def batch_of(num_rows: int = NUM_ROWS) -> pa.RecordBatch:
    rows = range(num_rows)
    return pa.record_batch(
        {
            "text": pa.array([f"document {row}" for row in rows], pa.large_string()),
            "language": [("en", "de", "fr", None)[row % 4] for row in rows],
            "domain": [f"site{row % 500}.org" if row % 7 else None for row in rows],
            "number": [row % 3 for row in rows],
            "meta": [{"a": row} for row in rows],
        }
    )


BATCH = batch_of()


def stays(seed: int = 0, **settings_) -> np.ndarray:
    reasons = opened(Sample(**settings_), FakeAssets(seed=seed))(BATCH).reasons
    assert set(reasons.to_pylist()) <= {None, "sampled_out"}
    return reasons.is_null().to_numpy(zero_copy_only=False)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.9, 1.0])
def test_keeps_about_its_rate(rate):
    """The fraction that stays is within five standard deviations; 0 keeps none and 1 all."""
    found = stays(rate=rate).sum()
    assert abs(found - NUM_ROWS * rate) <= 5 * (NUM_ROWS * rate * (1 - rate)) ** 0.5


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**63 - 1))
def test_lower_rate_keeps_a_subset(one, other, seed):
    """Samples with one seed lie in each other."""
    low, high = sorted((one, other))
    assert not (stays(rate=low, seed=seed) & ~stays(rate=high, seed=seed)).any()


def test_seeds_are_independent():
    """Another seed draws another sample: of two halves a quarter is in both. The pipeline's seed counts where none is set."""
    both = stays(rate=0.5, seed=1) & stays(rate=0.5, seed=2)
    assert abs(both.mean() - 0.25) < 0.02
    assert (stays(rate=0.5, seed=7) == stays(seed=7, rate=0.5)).all()
    assert (stays(seed=7, rate=0.5) != stays(seed=8, rate=0.5)).any()


def test_rates_by_value():
    """Each value has its rate; values that are not named, nulls among them, have `rate`, or stay without one."""
    language = np.array(BATCH["language"].to_pylist(), object)
    found = stays(rates={"en": 0.1, "de": 0}, by="language")
    assert abs(found[language == "en"].mean() - 0.1) < 0.03
    assert not found[language == "de"].any()
    assert found[(language == "fr") | (language == None)].all()  # noqa: E711
    found = stays(rates={"0": 1.0}, rate=0, by="number")
    assert found.tolist() == [row % 3 == 0 for row in range(NUM_ROWS)]


def test_groups_stay_or_go_together():
    """Documents with equal keys share their lot; where the key is null the text decides."""
    domain = np.array(BATCH["domain"].to_pylist(), object)
    found = stays(rate=0.5, key="domain")
    for name in {each for each in domain if each}:
        assert len(set(found[domain == name])) == 1
    alone = found[domain == None]  # noqa: E711
    assert abs(alone.mean() - 0.5) < 0.06
    assert (alone == stays(rate=0.5)[domain == None]).all()  # noqa: E711
    assert (stays(rate=0.5, key="text") == stays(rate=0.5)).all()


def test_the_sample_never_changes():
    """What a release of a dataset was drawn from can be drawn again: these lots are fixed."""
    assert np.flatnonzero(stays(rate=0.0005)).tolist() == [1075, 3230, 4106, 4317, 9557, 11428, 11783, 15400, 16457]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "no rate is given"),
        ({"rate": 2}, "less than or equal to 1"),
        ({"rates": {"en": 0.5}}, "name the column in `by`"),
        ({"rate": 1, "by": "language"}, "give `rates`"),
        ({"rates": {"en": 1.5}, "by": "language"}, "en: 1.5"),
    ],
)
def test_settings_that_cannot_be_meant(wrong, message):
    """Each is refused before a run starts."""
    with pytest.raises(ValidationError, match=message):
        Sample(**wrong)


def test_columns_that_cannot_be_drawn_by():
    """A nested column is an error that names it."""
    for settings_ in ({"rate": 0.5, "key": "meta"}, {"rates": {"x": 0.5}, "by": "meta"}):
        with pytest.raises(OperatorError, match="'meta' is struct"):
            opened(Sample(**settings_))(BATCH)
