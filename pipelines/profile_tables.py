"""The profile of documents as a person reads it: lengths from short to long, languages with the most text first.

Reads the manifest alone. Knows neither HTML nor Markdown: report and cards lay the lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.legible import count, counted, share, size

MAX_LINES: Final = 20
HEADS: Final = ("documents", "of all documents", "text", "of all text")
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """One class of lengths, or one language; `more`: how many languages it stands for, where it is the line of what is left.

    Attributes:
        name: A class in words, or a stranger's text: the name of a language.
        whole: Documents and bytes of all texts.
    """

    name: str
    documents: int
    text_bytes: int
    whole: tuple[int, int]
    more: int = 0

    @property
    def numbers(self) -> list[str]:
        """Its cells under `HEADS`."""
        documents, text_bytes = self.whole
        return [count(self.documents), share(self.documents, documents), size(self.text_bytes), share(self.text_bytes, text_bytes)]


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """Documents by one property.

    Attributes:
        kind: `length` or `language`.
        column: Whose text is measured, or which column names the language.
    """

    kind: str
    column: str
    lines: tuple[ProfileLine, ...]

    @property
    def most(self) -> int:
        """Documents of the largest line by length; bytes of the largest one by language."""
        return max((self.measure(line) for line in self.lines), default=0)

    def measure(self, line: ProfileLine) -> int:
        """What a bar shows: of lengths how many documents have them, of languages how much text."""
        return line.documents if self.kind == "length" else line.text_bytes


def profile_tables(manifest: Mapping[str, Any]) -> Iterator[ProfileTable]:
    """The tables of a manifest; none where it has no profile, or there is no document."""
    told = manifest.get("documents")
    if told is None or not _documents(told):
        return
    whole = (_documents(told), told["text_bytes"])
    lines = [ProfileLine(_length(entry), entry["documents"], entry["text_bytes"], whole) for entry in told["lengths"]]
    if told["null_texts"]:
        lines.insert(0, ProfileLine("null", told["null_texts"], 0, whole))
    yield ProfileTable("length", told["text_column"], tuple(lines))
    if told["by_language"]:
        yield ProfileTable("language", told["language_column"], tuple(_languages(told["by_language"], whole)))


def profile_sentence(manifest: Mapping[str, Any]) -> str:
    """`12 documents with 34.0 KiB of text, 2.83 KiB each on average.`; empty where there is no table."""
    told = manifest.get("documents")
    if told is None or not _documents(told):
        return ""
    mean = size(told["text_bytes"] // _documents(told))
    return f"{counted(_documents(told), 'document')} with {size(told['text_bytes'])} of text, {mean} each on average."


def _documents(told: Mapping[str, Any]) -> int:
    return int(told["null_texts"]) + sum(int(entry["documents"]) for entry in told["lengths"])


def _length(entry: Mapping[str, int]) -> str:
    """A class of lengths in words."""
    first, stop = entry["from_bytes"], entry["below_bytes"]
    if stop <= 1:
        return "empty"
    return _exact(first) if first + 1 == stop else f"{_exact(first)} to {_exact(stop)}"


def _exact(num_bytes: int) -> str:
    """Bytes in the largest unit in which they are whole."""
    unit = 0
    while num_bytes and num_bytes % 1024 == 0 and unit + 1 < len(UNITS):
        num_bytes //= 1024
        unit += 1
    return f"{num_bytes} {UNITS[unit]}"


def _languages(counts: Mapping[str, Mapping[str, int]], whole: tuple[int, int]) -> Iterator[ProfileLine]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1]["text_bytes"], item[0]))
    # One that is left is told rather than counted.
    first = MAX_LINES if len(ordered) > MAX_LINES + 1 else len(ordered)
    yield from (ProfileLine(name, told["documents"], told["text_bytes"], whole) for name, told in ordered[:first])
    rest = [told for _, told in ordered[first:]]
    if rest:
        yield ProfileLine("", _of(rest, "documents"), _of(rest, "text_bytes"), whole, more=len(rest))


def _of(counts: Sequence[Mapping[str, int]], what: str) -> int:
    return sum(told[what] for told in counts)
