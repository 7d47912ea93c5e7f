"""What turns texts into ids, whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.int32]
"""Ids of texts one after the other; one of 2^31 and above stands as the negative number of the same bits."""
Ends = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def as_ids(numbers: Sequence[int]) -> Ids:
    """Ids below 2^32, as they are held here."""
    return np.array(numbers, np.uint32).view(np.int32)


class Encoder(Protocol):
    """An opened tokenizer, of one thread."""

    def __call__(self, text: pa.LargeStringArray, taken: Mask) -> tuple[Ids, Ends]:
        """Ids of the texts that are taken, which are well-formed UTF-8, and where those of each text end."""


class OtherWay(Exception):
    """The kernels cannot be used for a tokenizer; the message says why."""


class UnknownRule(OtherWay):
    """The kernels do not know a rule of the tokenizer."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"the kernels do not know {rule}")
