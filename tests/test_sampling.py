"""Which documents a dry run draws: all of the input has its chance, within bounds, by the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import drawn_rows, inventory_of

from pipelines.sampling import Bounds, Files, draw, falling, row_hashes, steps

MANY = [[50]] * 10_000


def stands_for(design):
    return sum(cluster.weight * cluster.documents for cluster in design.clusters)


def test_the_same_seed_draws_the_same_documents():
    """A design depends on inventory, number and seed; another seed draws others."""
    inventory = inventory_of(MANY)
    assert draw(inventory, 500, 3) == draw(inventory, 500, 3)
    assert draw(inventory, 500, 3).clusters != draw(inventory, 500, 4).clusters


def test_many_files_are_read_in_a_fortieth():
    """Of 10,000 files 2.5 % of the bytes are read at most, for 2,000 documents spread over all of them."""
    inventory = inventory_of(MANY)
    design = draw(inventory)
    files = [cluster.file for cluster in design.clusters]
    assert design.documents == 2000
    assert design.planned_bytes <= 0.025 * inventory.num_bytes
    assert (min(files) < 100, max(files) >= 9900, np.diff(files).max() <= 120) == (True, True, True)
    assert design.notes == ()


def test_a_small_input_is_a_census():
    """All documents are drawn where there are no more than were asked for: each stands for itself."""
    design = draw(inventory_of([[10, 20], [], [30]]), 60)
    assert design.is_census
    assert [cluster.documents for cluster in design.clusters] == [10, 20, 30]
    assert all(cluster.weight == 1.0 for cluster in design.clusters)


def test_an_input_without_rows_gives_an_empty_design():
    """No files with rows, no clusters."""
    design = draw(inventory_of([[], [0], [0, 0]]))
    assert (design.clusters, design.rows, design.is_census) == ((), 0, True)


def test_large_row_groups_are_read_in_part():
    """Row groups of a gigabyte do not break the bound of bytes: the first rows of sixty are read, and a note says so."""
    inventory = inventory_of([[1_000_000]] * 200)
    design = draw(inventory)
    assert 40 <= len(design.clusters) <= 60
    assert design.documents == 2000
    assert design.planned_bytes <= 256 << 20
    assert all(0 < cluster.stop < cluster.rows for cluster in design.clusters)
    assert "first rows" in design.notes[0]


def test_one_huge_row_group_is_read_in_part():
    """A file of one row group gives its beginning."""
    design = draw(inventory_of([[10_000_000]]), 2000, bounds=Bounds(max_bytes=50_000_000))
    assert (design.documents, design.clusters[0].stop) == (2000, pytest.approx(50_000, rel=0.01))


def test_fewer_documents_are_said_to_be_fewer():
    """Where the bounds allow no more documents a note says how many there are."""
    design = draw(inventory_of([[1]] * 5000, row_bytes=1 << 20), 2000, bounds=Bounds(max_bytes=100 << 20))
    assert design.documents < 200
    assert "were asked for" in design.notes[-1]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.lists(st.integers(0, 3000), max_size=6), min_size=1, max_size=40), st.integers(1, 800), st.integers(0, 2**63), st.booleans()
)
def test_weights_sum_up_to_the_input(files, documents, seed, is_tight):
    """Whatever the row groups, documents are within them and stand for all rows, in the inventory's order, within the bounds."""
    inventory = inventory_of(files)
    bounds = Bounds(max_bytes=300_000, min_clusters=5, max_clusters=12) if is_tight else Bounds()
    design = draw(inventory, documents, seed, bounds)
    places = [(cluster.file, cluster.row_group) for cluster in design.clusters]
    assert places == sorted(set(places))
    assert all(0 <= cluster.documents <= cluster.stop <= cluster.rows for cluster in design.clusters)
    assert design.documents <= documents
    assert design.rows == inventory.rows
    if design.clusters and all(cluster.documents for cluster in design.clusters):
        assert stands_for(design) == pytest.approx(inventory.rows)
    for number, stratum in enumerate(design.strata):
        members = [cluster for cluster in design.clusters if cluster.stratum == number]
        assert stratum.picks == (sum(one.documents for one in members) if stratum.is_certain else len(members))


def test_every_document_has_the_same_chance():
    """Over many seeds documents of small, middling and large row groups are drawn equally often."""
    files = [[20, 60], [300], [2000]] * 30
    inventory = inventory_of(files)
    counts = np.zeros(inventory.rows)
    for seed in range(150):
        rows, _ = drawn_rows(inventory, draw(inventory, 140, seed, Bounds(max_clusters=36, min_clusters=10)))
        counts[rows] += 1
    by_group = np.add.reduceat(counts, np.concatenate([[0], np.cumsum(inventory.group_rows)[:-1]])).reshape(30, 4).sum(axis=0)
    rates = by_group / np.array([20, 60, 300, 2000]) / 30 / 150 / (140 / inventory.rows)
    assert np.abs(rates - 1).max() < 0.4
    assert np.abs(rates[2:] - 1).max() < 0.15


def test_a_sample_of_files_counts_as_drawn_by_file():
    """Where files were drawn, row groups of one file are one unit, and weights bring them to the whole input."""
    inventory = inventory_of([[40, 60]] * 100)
    stand = Files(10**9, 0, np.full(100, 25.0), np.zeros(100, np.bool_), np.zeros(100, np.bool_))
    design = draw(inventory, 1000, files=stand)
    assert design.rows == 100 * 100 * 25
    assert not design.is_census
    assert stands_for(design) == pytest.approx(design.rows)
    assert not any(stratum.is_certain for stratum in design.strata)
    assert sum(stratum.picks for stratum in design.strata) == len({cluster.unit for cluster in design.clusters}) == 100


def test_the_last_row_of_a_clipped_file_is_not_drawn():
    """It is cut where the file is."""
    inventory = inventory_of([[10, 10]])
    stand = Files(10**6, 0, np.full(1, 50.0), np.ones(1, np.bool_), np.ones(1, np.bool_))
    design = draw(inventory, 100, files=stand)
    assert [cluster.stop for cluster in design.clusters] == [10, 9]
    assert not design.is_census


def test_numbers_of_rows_are_even_and_differ_by_name():
    """Row numbers are spread evenly, and other for each name and seed."""
    rows = np.arange(20_000)
    one = row_hashes(1, "a", rows)
    assert np.bincount((one >> np.uint64(61)).astype(int)) == pytest.approx([2500] * 8, rel=0.1)
    for other in (row_hashes(1, "b", rows), row_hashes(2, "a", rows)):
        assert abs(np.corrcoef(one.astype(float), other.astype(float))[0, 1]) < 0.03
    assert len(np.unique(one)) == len(rows)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 100))
def test_steps_stand_for_all(sizes, count, seed):
    """Different places come out, that together stand for all, the large ones for certain; as many as asked for, or some twice."""
    certain, stepped, mass = steps(np.array(sizes), count, seed)
    places = {*certain.tolist(), *stepped.tolist()}
    assert len(places) == len(certain) + len(stepped) <= min(count, len(sizes))
    assert sum(sizes[place] for place in certain.tolist()) + mass.sum() == pytest.approx(sum(sizes))
    if len(stepped):
        step = mass.min()
        assert all(sizes[place] < step for place in stepped.tolist())
        assert len(certain) + round(mass.sum() / step) == min(count, len(sizes)) or mass.max() == step


def test_falling_ends_at_the_least():
    """Both ends are among the numbers."""
    assert list(falling(3, 3)) == [3]
    numbers = list(falling(400, 60))
    assert (numbers[0], numbers[-1]) == (400, 60)
    assert numbers == sorted(set(numbers), reverse=True)
