"""The order of the documents in a token shard: a permutation that follows from the seed and the shard's number alone.

It can be computed again anywhere. SplitMix64 seeded with `s` gives the numbers `mix(s + G)`, `mix(s + 2 G)`, … modulo 2**64, where
G = 0x9E3779B97F4A7C15 and `mix` is its output function. Row r of shard n gets the key

    number r + 1 of the generator seeded with (number n + 1 of the generator seeded with the seed)

and the documents stand by ascending key: `order[p]` is the row of the Parquet shard that stands at position p of the token shard. No two
rows of a shard have the same key, because `mix` is a bijection. n is the number in the shard's name: 3 in `part-00003-<plan>`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

GAMMA: Final = 0x9E3779B97F4A7C15
FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
MASK: Final = (1 << 64) - 1

Ints = npt.NDArray[np.int64]


def token_order(seed: int | None, shard: int, rows: int) -> Ints:
    """Rows of a shard in the order of its token shard; of seed None in their own.

    Args:
        seed: `execution.seed`; None: not shuffled.
        shard: Number of the shard.
        rows: Documents of the shard.
    """
    if seed is None:
        return np.arange(rows, dtype=np.int64)
    return np.argsort(_keys(_number(seed, shard), rows), kind="stable")


def _number(seed: int, position: int) -> int:
    """One number of a SplitMix64, counted from 0."""
    word = (seed + (position + 1) * GAMMA) & MASK
    word = ((word ^ (word >> 30)) * FACTORS[0]) & MASK
    word = ((word ^ (word >> 27)) * FACTORS[1]) & MASK
    return word ^ (word >> 31)


def _keys(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """The first numbers of a SplitMix64."""
    words = np.arange(1, count + 1, dtype=np.uint64)
    words *= np.uint64(GAMMA)
    words += np.uint64(seed)
    for shift, factor in zip((30, 27), FACTORS, strict=True):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words
