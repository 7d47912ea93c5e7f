"""The records that the driver holds: whatever is folded when, each is what was added, and the first of a key's stays."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import held_records
from pipelines.held_records import HeldRecords, fold_keys, fold_records

steps = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 30), st.binary(max_size=40))), max_size=60)
"""None folds; a pair is a key and its record."""


@settings(deadline=None)
@given(steps=steps, fold=st.integers(1, 5), held_open=st.sampled_from([0, 100, 1 << 20]), data=st.data())
def test_records_are_the_same_folded_or_not(steps, fold, held_open, data):
    """Held open or read again, in any order, and taken in by a restart from the folds alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_records, "FOLD_RECORDS", fold)
        patch.setattr(held_records, "OPEN_BYTES", held_open)
        held, expected, folds = HeldRecords(), {}, []
        for step in steps:
            if step is not None:
                held.add(f"k{step[0]}", step[1])
                expected.setdefault(f"k{step[0]}", step[1])
                continue
            while held.num_latest:
                folds.append(held.next_fold())
                held.add_fold(folds[-1])
                assert len(fold_keys(folds[-1])) <= fold
        assert list(held) == list(expected)
        assert len(held) == len(expected)
        assert {key: held[key] for key in data.draw(st.permutations(sorted(expected)))} == expected
        assert held.num_folds == len(folds)
        again = HeldRecords()
        for content in folds:
            again.add_fold(content)
        assert {key: again[key] for key in again} == {key: record for key, record in expected.items() if key in again}
        assert len(again) + held.num_latest == len(expected)


@pytest.mark.parametrize("keep", [0, 10, -10])
def test_a_fold_that_is_cut_is_refused_and_leaves_nothing(keep):
    """A crash may leave half of a fold: none of its records count."""
    held = HeldRecords()
    for number in range(100):
        held.add(f"k{number}", b"x" * number)
    content = held.next_fold()
    assert fold_records(content)[7] == b"x" * 7
    fresh = HeldRecords()
    with pytest.raises(pa.ArrowInvalid):
        fresh.add_fold(content[:keep])
    assert len(fresh) == 0
    assert fresh.num_folds == 0
