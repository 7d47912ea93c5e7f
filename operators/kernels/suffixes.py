"""The public suffix list as a table for kernels. Owns which suffixes there are: those that tldextract carries; nothing is downloaded."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from operators.kernels.string_sets import StringSet, slots_of, string_set
from operators.kernels.unicode import Tables
from operators.kernels.urls import ENDS, EXACT_LINE, HAS_WILDCARD, list_fingerprints


def public_suffixes() -> list[str]:
    """The rules of the public suffix list's ICANN part in the installed tldextract, sorted."""
    from tldextract import TLDExtract

    return sorted(TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True).tlds)


def suffix_table(suffixes: list[str], tables: Tables) -> tuple[StringSet, npt.NDArray[np.uint8], int]:
    """The nodes of the rules' tree by their names, the flags of each by slot, and the flags of the root.

    A node's name is what it is in a host, such as `co.uk`; labels that are not ASCII stand there as they are and in Punycode.
    """
    nodes = {"": 0}
    for suffix in suffixes:
        for spelling in product(*(_spellings(label) for label in suffix.split("."))):
            for begin in range(len(spelling)):
                nodes.setdefault(".".join(spelling[begin:]), 0)
            nodes[".".join(spelling)] |= ENDS
            if spelling[0] == "*":
                nodes[".".join(spelling[1:])] |= HAS_WILDCARD
    root_flags = nodes.pop("")
    first, second = list_fingerprints("\n".join(nodes).encode(), EXACT_LINE, 0, tables)
    strings = string_set(first, second)
    flags = np.zeros(len(strings.first), np.uint8)
    flags[slots_of(strings, first, second)] = np.fromiter(nodes.values(), np.uint8, len(nodes))
    return strings, flags, root_flags


def _spellings(label: str) -> tuple[str, ...]:
    return (label,) if label.isascii() else (label, "xn--" + label.encode("punycode").decode())
