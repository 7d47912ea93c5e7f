"""MinHash: signatures against plain Python, their statistics, and similarities of pairs."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import SHARED

from operators.kernels import minhash
from operators.kernels.minhash import constants, jaccard, signatures, similarity
from operators.kernels.shingles import shingle_sets
from operators.minhash import Curve

DOCS = SHARED / "data" / "docs"
NEAR = SHARED / "data" / "truth" / "near_pairs.parquet"
MASK = (1 << 64) - 1
WORDS = st.lists(st.sampled_from(["a", "b", "the", "0", "x1", "\xe9t\xe9", "\u4f60", "\ud55c\uad6d"]), max_size=40).map(" ".join)


def probability(similarity, bands, rows):
    """The textbook's curve, of numbers and of arrays."""
    return 1 - (1 - similarity**rows) ** bands


def large(texts):
    return pa.array(texts, pa.large_string())


# --- plain Python


def splitmix64(seed, count):
    """The generator as its author wrote it."""
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        yield word ^ (word >> 31)


def mixed(word):
    word = ((word ^ word >> 32) * 0xF88BB8A8724C81ED) & MASK
    word = ((word ^ word >> 29) * 0x1B39896A51A8749B) & MASK
    return word ^ word >> 32


def band_key(minima, band):
    """Four minima, 32 bits each, at a time."""
    key = (band + 1) * 0x06C45D188009454F
    for at in range(0, len(minima), 4):
        block = b"".join(least.to_bytes(4, "little") for least in minima[at : at + 4]).ljust(16, b"\0")
        key += int.from_bytes(block[:8], "little") * 0xE220A8397B1DCDAF + int.from_bytes(block[8:], "little") * 0x6E789E6AA1B965F5
        key &= MASK
        key = (key ^ key >> 32) * 0xF88BB8A8724C81ED & MASK
        key ^= key >> 29
    return mixed(key)


def signed(shingles, num_hashes, bands, rows):
    """Band keys and lower halves of the minima of a set of shingle hashes."""
    halves = [word & 0xFFFFFFFF for word in shingles]
    minima = [
        min(((word >> 32 | 1) * half + (word & 0xFFFFFFFF)) & 0xFFFFFFFF for half in halves)
        for word in splitmix64(int.from_bytes(b"MinHash_", "big"), num_hashes)
    ]
    return [band_key(minima[band * rows : (band + 1) * rows], band) for band in range(bands)], [least & 0xFFFF for least in minima]


@pytest.mark.parametrize("kind", ["word", "char"])
@settings(deadline=None, max_examples=100)
@given(st.lists(WORDS | st.text(), min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 30))
def test_any_text_has_the_signature_of_its_shingles(kind, texts, bands, rows, more):
    """Whatever the numbers of hashes, bands and rows."""
    offsets, hashes = shingle_sets(large(texts), kind, 3, "datatrove")
    found = signatures(large(texts), kind, 3, "datatrove", bands * rows + more, bands, rows)
    for row in range(len(texts)):
        shingles = hashes[offsets[row] : offsets[row + 1]].tolist()
        assert found.valid[row] == bool(shingles)
        expected = signed(shingles, bands * rows + more, bands, rows) if shingles else ([0] * bands, [0] * (bands * rows + more))
        assert (found.bands[row].tolist(), found.low[row].tolist()) == expected


def test_published_signatures():
    """What runs leave for each other: this never changes without a new name."""
    texts = large(["The quick brown fox jumps over 13 lazy dogs.", "\xc7a co\xfbte 3,50 \u20ac; \u4f60\u597d \u03a9"])
    found = signatures(texts, "word", 5, "datatrove", 112, 14, 8)
    assert found.bands[:, :2].tolist() == [[0x50AF305007297CD7, 0xE51CD1E118AE614F], [0x2E978DD0E3653C55, 0x659EED1E66288672]]
    assert found.low[:, :4].tolist() == [[33973, 61071, 55408, 58435], [47847, 3768, 43869, 7131]]


def test_long_documents_are_signed_as_sets():
    """A document of many tiles has the minima of all its shingles, and a slice of a batch those of its documents."""
    texts = [" ".join(f"word{number % 5000}" for number in range(20_000)), "", "one two three four five six", " ".join(map(str, range(9)))]
    offsets, hashes = shingle_sets(large(texts), "word", 5, "words")
    found = signatures(large(texts), "word", 5, "words", 20, 4, 5)
    for row in (0, 2, 3):
        assert (found.bands[row].tolist(), found.low[row].tolist()) == signed(hashes[offsets[row] : offsets[row + 1]].tolist(), 20, 4, 5)
    sliced = signatures(large(texts).slice(2), "word", 5, "words", 20, 4, 5)
    assert all(np.array_equal(part, whole[2:]) for part, whole in zip(sliced, found, strict=True))
    assert all(len(part) == 0 for part in signatures(large([]), "word", 5, "words", 20, 4, 5))


def test_fewer_hashes_are_the_first_of_more():
    """Presets with other numbers of hashes agree on those that they share."""
    few, many = (signatures(large(["a b c d e f g"]), "word", 5, "none", number, 1, 5) for number in (5, 50))
    assert np.array_equal(few.low, many.low[:, :5])
    assert np.array_equal(few.bands, many.bands)
    assert all(factor & 1 for factor in constants(1000)[0].tolist())


def test_bands_that_need_more_hashes_are_refused():
    """The message tells both numbers."""
    with pytest.raises(ValueError, match=r"bands: 3 of 5 hashes found; expected .* num_hashes \(14\)"):
        signatures(large(["a"]), "word", 5, "none", 14, 3, 5)


# --- statistics


def pairs_of_jaccard(targets, num_pairs, num_shingles):
    """Documents of distinct words as shingles of one word, in pairs of about each target, and their true similarities."""
    texts, truths, word = [], [], 0
    for target in targets:
        shared = round(2 * num_shingles * target / (1 + target))
        for _ in range(num_pairs):
            common, own, other = (
                [f"w{number}" for number in range(begin, begin + count)]
                for begin, count in (
                    (word, shared),
                    (word + shared, num_shingles - shared),
                    (word + num_shingles, num_shingles - shared),
                )
            )
            word += 2 * num_shingles
            texts += [" ".join(common + own), " ".join(common + other)]
            truths.append(shared / (2 * num_shingles - shared))
    return large(texts), np.array(truths)


TARGETS = np.arange(0.525, 0.97, 0.05)


@pytest.mark.parametrize("num_shingles", [20, 60, 700])
@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 5), (8, 14)])
def test_candidates_follow_the_curve(num_shingles, bands, rows):
    """In each tenth of similarity above one half, the share of pairs that meet in a band is the theoretical one to 0.02."""
    texts, truths = pairs_of_jaccard(TARGETS, 3_000_000 // (num_shingles * 150) if num_shingles > 100 else 2500, num_shingles)
    found = signatures(texts, "word", 1, "none", bands * rows, bands, rows)
    met = (found.bands[::2] == found.bands[1::2]).any(axis=1)
    expected = np.array([probability(truth, bands, rows) for truth in truths])
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        chosen = (truths >= low) & (truths < low + 0.1)
        assert chosen.any()
        spread = np.sqrt((expected[chosen] * (1 - expected[chosen])).sum()) / chosen.sum()
        assert abs(met[chosen].mean() - expected[chosen].mean()) < max(0.02, 4 * spread), low


@pytest.mark.parametrize("num_shingles", [20, 60, 700])
def test_estimates_are_binomial(num_shingles):
    """Without bias, and with the spread of as many tosses as there are hashes."""
    texts, truths = pairs_of_jaccard(TARGETS, 10_000 // num_shingles + 100, num_shingles)
    low = signatures(texts, "word", 1, "none", 112, 14, 8).low
    errors = similarity(low[::2], low[1::2]) - truths
    assert abs(errors.mean()) < 0.005
    assert (truths < 1).all()
    scaled = errors / np.sqrt(truths * (1 - truths) / 112)
    assert 0.9 < scaled.std() < 1.1


def test_structured_shingles_are_no_exception():
    """Sets of sums, such as all sequences of two words, and documents of one repeated pattern."""
    rng = np.random.default_rng(1)
    texts = []
    for number in range(300):
        texts += [" ".join(rng.choice([f"yes{number}", f"no{number}"], 60, p=[0.6, 0.4])) for _ in range(2)]
    low = signatures(large(texts), "word", 5, "none", 112, 14, 8).low
    offsets, hashes = shingle_sets(large(texts), "word", 5, "none")
    first, second = np.arange(0, 600, 2), np.arange(1, 600, 2)
    truths = jaccard(offsets, hashes, offsets, hashes, first, second)
    errors = similarity(low[::2], low[1::2]) - truths
    assert abs(errors.mean()) < 0.01
    assert 0.8 < (errors / np.sqrt(np.maximum(truths * (1 - truths), 1e-3) / 112)).std() < 1.2


def test_millions_of_shingles_do_not_saturate():
    """Minima of unrelated long documents are equal as rarely as promised, and no band of theirs meets."""
    num_words = 3_000_000
    texts = large([" ".join(map(str, range(begin, begin + num_words))) for begin in (0, num_words)])
    found = signatures(texts, "word", 1, "none", 1024, 128, 8)
    assert (found.low[:1] == found.low[1:]).mean() <= 3 * num_words / 2**33 + 3 / 1024
    assert not (found.bands[0] == found.bands[1]).any()


def components(first, second):
    """The lowest document that each document is joined with by pairs."""
    labels, before = np.arange(max(first.max(), second.max()) + 1), None
    while not np.array_equal(labels, before):
        before = labels.copy()
        lower = np.minimum(labels[first], labels[second])
        np.minimum.at(labels, first, lower)
        np.minimum.at(labels, second, lower)
    return labels


def near_pairs():
    """The documents of the truth's near pairs, and the rows of each pair."""
    if not NEAR.exists():
        pytest.skip(f"near pairs are absent: {NEAR}")
    pairs = pq.read_table(NEAR)
    table = pa.concat_tables([pq.read_table(path, columns=["id", "text"]) for path in sorted(DOCS.glob("*.parquet"))])
    place = {name: row for row, name in enumerate(table["id"].to_pylist())}
    first, second = (np.array([place[name] for name in pairs[side].to_pylist()]) for side in ("id_a", "id_b"))
    wanted, rows = np.unique(np.concatenate([first, second]), return_inverse=True)
    texts = table["text"].cast(pa.large_string()).combine_chunks().take(pa.array(wanted))
    return texts, rows[: len(first)], rows[len(first) :]


def test_the_truth_pairs_meet_as_the_curve_says():
    """On real near-duplicates, and their estimated similarity is the exact one but for the spread of the hashes."""
    texts, first, second = near_pairs()
    clusters = components(first, second)[first]
    for normalization in ("words", "datatrove"):
        offsets, hashes = shingle_sets(texts, "word", 5, normalization)
        truths = jaccard(offsets, hashes, offsets, hashes, first, second).astype(np.float64)
        found = signatures(texts, "word", 5, normalization, 112, 14, 8)
        errors = similarity(found.low[first], found.low[second]) - truths
        # Pairs that share documents share their errors.
        by_cluster = np.bincount(clusters, errors)[np.unique(clusters)] / np.bincount(clusters)[np.unique(clusters)]
        assert abs(by_cluster.mean()) < 0.005
        assert np.sqrt((errors**2).mean()) < 1.1 * np.sqrt((truths * (1 - truths) / 112).mean())
        met = (found.bands[first] == found.bands[second]).any(axis=1)
        expected = probability(truths, 14, 8)
        for low in (0.5, 0.6, 0.7, 0.8, 0.9):
            chosen = (truths >= low) & ((truths < low + 0.1) | (low == 0.9))
            assert abs(met[chosen].mean() - expected[chosen].mean()) < 0.02, (normalization, low)


def test_any_constants_follow_the_curve(monkeypatch):
    """Averaged over seeds, candidates among real near-duplicates are on the curve: it is not the published seed alone that does well."""
    texts, first, second = near_pairs()
    offsets, hashes = shingle_sets(texts, "word", 5, "datatrove")
    truths = jaccard(offsets, hashes, offsets, hashes, first, second).astype(np.float64)
    met = np.zeros((24, len(truths)))
    for seed, row in enumerate(met):
        monkeypatch.setattr(minhash, "SEED", seed)
        bands = signatures(texts, "word", 5, "datatrove", 112, 14, 8).bands
        row[:] = (bands[first] == bands[second]).any(axis=1)
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        chosen = (truths >= low) & ((truths < low + 0.1) | (low == 0.9))
        differences = met[:, chosen].mean(axis=1) - probability(truths[chosen], 14, 8).mean()
        assert abs(differences.mean()) < 0.02, low
        assert abs(differences.mean()) < 3.5 * differences.std(ddof=1) / np.sqrt(len(met)) + 1e-3, low


# --- pairs


@settings(deadline=None)
@given(st.integers(0, 5), st.sampled_from([1, 2, 15, 16, 17, 64, 112, 130]), st.integers(0, 1000))
def test_similarity_is_the_share_of_equal_entries(num_rows, num_hashes, seed):
    """For any number of hashes, buffers that the caller may not write included."""
    first, second = np.random.default_rng(seed).integers(0, 2, (2, num_rows, num_hashes)).astype(np.uint16) * 65535
    first.flags.writeable = False
    expected = [np.float32(np.float32((a == b).sum()) / np.float32(num_hashes)) for a, b in zip(first, second, strict=True)]
    assert similarity(first, second).tolist() == expected


def test_signatures_of_different_numbers_are_refused():
    """They cannot be compared."""
    with pytest.raises(ValueError, match=r"signatures: \(2, 4\) and \(2, 5\) found; expected one shape"):
        similarity(np.zeros((2, 4), np.uint16), np.zeros((2, 5), np.uint16))


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sets(st.integers(0, 30), max_size=20)] * 2), max_size=5), st.randoms(use_true_random=False))
def test_jaccard_is_that_of_the_sets(pairs, random):
    """In any order of pairs; two empty sets have none."""
    halves = [[sorted(pair[side]) for pair in pairs] for side in (0, 1)]
    arguments = []
    for sets in halves:
        arguments += [np.cumsum([0, *map(len, sets)]), np.array([*chain.from_iterable(sets)], np.uint64)]
    order = random.sample(range(len(pairs)), len(pairs))
    expected = [np.float32(len(a & b) / len(a | b)) if a | b else 0 for a, b in (pairs[row] for row in order)]
    rows = np.array(order, np.int64)
    assert jaccard(*arguments, rows, rows).tolist() == expected


def test_rows_outside_are_refused():
    """Nothing reads beyond the sets."""
    offsets, hashes = np.array([0, 1]), np.array([5], np.uint64)
    for row in (-1, 1):
        with pytest.raises(ValueError, match="rows of pairs"):
            jaccard(offsets, hashes, offsets, hashes, np.array([0]), np.array([row]))


def test_probability_is_the_textbook_curve():
    """With FineWeb's bands and rows, the figures that are printed everywhere."""
    curve = Curve(14, 8, "")
    assert [round(curve.probability(each), 4) for each in (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)] == [0, 0.0533, 0.5645, 0.9235, 0.9996, 1]
