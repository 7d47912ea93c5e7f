"""Labelled documents for training: read from anywhere, divided into those to train with and those held out, written as fastText's lines.

Owns which documents are held out and in which order the others are learnt: both by a hash of the prepared text, so that neither depends on
files, and one text is never on both sides. Memory does not grow with the input.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from operators.classifier import prepared
from operators.fasttext_model import PREFIX
from pipelines.errors import ConfigError, InputError, shown
from pipelines.formats import Damaged, ReadOptions, Slice, read
from pipelines.inventory import Inventory, take_inventory
from pipelines.storage import Sources

BATCH_BYTES: Final = 16 << 20
BUCKET_BYTES: Final = 32 << 20
"""Bytes of training text that are put in order at once."""
MAX_BUCKETS: Final = 512
DIGEST_CHARS: Final = 32
SPACES: Final = re.compile(r"[ \t\n\v\f\r\0]+")
END: Final = "</s>"
HOLDOUT_SCHEMA: Final = pa.schema([("text", pa.large_string()), ("label", pa.string())])


@dataclass(frozen=True, slots=True)
class Labelled:
    """Where labelled documents are: files of one label, or files with a column of labels (`label` is None)."""

    label: str | None
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to a text before the model sees it, as `operators.classifier` does it."""

    lowercase: bool = False
    max_chars: int | None = None


@dataclass(slots=True)
class Counts:
    """How many documents there were.

    Attributes:
        trained: By label.
        held_out: By label.
        skipped: By reason: rows that are no documents, documents without a label, empty texts.
        conflicting: Texts to train with that stand under more than one label.
    """

    trained: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    conflicting: int = 0

    @property
    def labels(self) -> list[str]:
        """Every label, in alphabetical order; numbers by their size."""
        found = set(self.trained) | set(self.held_out)
        return sorted(found, key=lambda label: (0, float(label), label) if label.isdecimal() else (1, 0.0, label))


class LabelledDocuments:
    """Labelled documents in some places, listed."""

    def __init__(self, sources: Sources, given: Sequence[Labelled], options: ReadOptions, label_column: str) -> None:
        """List them.

        Raises:
            InputError: Files are missing or cannot be read, or have no text or label.
        """
        self._sources = sources
        self._options = options
        self._label_column = label_column
        self._listed = [(labelled.label, self._inventory(labelled)) for labelled in given]

    @property
    def by_column(self) -> bool:
        """Whether some labels come from a column."""
        return any(label is None for label, _ in self._listed)

    @property
    def num_bytes(self) -> int:
        """Estimate of their uncompressed size."""
        return sum(int(inventory.group_bytes.sum()) for _, inventory in self._listed)

    @property
    def uris(self) -> list[tuple[str | None, str, int]]:
        """Label, address and rows of every file."""
        files = [(label, inventory.file(ordinal)) for label, inventory in self._listed for ordinal in range(inventory.num_files)]
        return [(label, file.uri, file.rows) for label, file in files]

    def read(self, skipped: Counter[str]) -> Iterator[tuple[pa.LargeStringArray, list[str | None]]]:
        """Texts and their labels, in batches.

        Args:
            skipped: Counts the rows that are no documents, by error.
        """
        for label, inventory in self._listed:
            schema = pa.schema([inventory.schema.field(name) for name in self._columns(label)])
            for ordinal in range(inventory.num_files):
                file = inventory.file(ordinal)
                slices = [Slice(file, number, 0, group.rows) for number, group in enumerate(file.row_groups)]
                for found in read(self._sources, slices, schema, self._options, BATCH_BYTES):
                    if isinstance(found, Damaged):
                        skipped[found.error] += len(found.rows)
                        continue
                    text = pc.cast(found.batch.column(0), pa.large_string())
                    yield text, [label] * len(text) if label is not None else _labels(found.batch.column(1), file.uri)

    def _columns(self, label: str | None) -> list[str]:
        return [self._options.text_column, *([self._label_column] if label is None else [])]

    def _inventory(self, labelled: Labelled) -> Inventory:
        inventory = take_inventory(self._sources, labelled.patterns, self._options)
        for uri, error, message in inventory.unreadable:
            raise InputError(f"{uri}: {error}: {message}; repair it, or name the other files")
        name = self._label_column
        if labelled.label is None:
            if name not in inventory.schema.names:
                columns = shown(", ".join(inventory.schema.names))
                raise InputError(
                    f"the documents have no column {name!r}; they have: {columns}; set --label-column, or give --label NAME=URI"
                )
            kind = inventory.schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_large_string(kind) or pa.types.is_string(kind)):
                raise InputError(f"column {name!r} is {shown(kind)}; labels must be strings, whole numbers or booleans")
        return inventory


def check_label(label: str) -> str:
    """The label without `__label__`.

    Raises:
        ConfigError: fastText could not tell it from the text.
    """
    plain = label.removeprefix(PREFIX)
    if not plain or SPACES.search(plain):
        raise ConfigError(f"label {shown(label)!r} is empty or has white space in it; a label is one word: join its words with '_'")
    return plain


def _labels(values: pa.Array, uri: str) -> list[str | None]:
    names = pc.cast(values, pa.string())
    for name in pc.unique(names).drop_null().to_pylist():
        try:
            check_label(name)
        except ConfigError as error:
            raise InputError(f"{uri}: {error.message}") from error
    return [None if name is None else check_label(name) for name in names.to_pylist()]


class Shuffle:
    """Puts lines into the order of their digests, whatever their number: first into buckets on disk, then each bucket by itself."""

    def __init__(self, folder: Path, num_bytes: int) -> None:
        self._num = min(MAX_BUCKETS, num_bytes // BUCKET_BYTES + 1)
        self._paths = [folder / f"bucket-{number}" for number in range(self._num)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._files: list[IO[str]] = [self._stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, digest: str, line: str) -> None:
        """Take a line; its digest is hexadecimal."""
        self._files[int(digest[:8], 16) * self._num >> 32].write(f"{digest}{line}\n")

    def write(self, path: Path) -> int:
        """Write all lines, in order. Returns how many digests come with different lines: one text under several labels."""
        self._stack.close()
        conflicting = 0
        with path.open("w", encoding="utf-8", newline="\n") as out:
            for bucket in self._paths:
                lines = sorted(bucket.read_text(encoding="utf-8").split("\n")[:-1])
                bucket.unlink()
                out.writelines(f"{line[DIGEST_CHARS:]}\n" for line in lines)
                distinct = Counter(digest for digest, _ in {(line[:DIGEST_CHARS], line) for line in lines})
                conflicting += sum(count > 1 for count in distinct.values())
        return conflicting


def as_line(label: str, text: str) -> str:
    """A document as a line for training, with just the words that the model will see when it judges: none that looks like a label."""
    if PREFIX in text or END in text:
        words = SPACES.split(text)
        words = words[: words.index(END)] if END in words else words
        text = " ".join(word for word in words if not word.startswith(PREFIX))
    return f"{PREFIX}{label} {text.translate(_ONE_LINE)}"


_ONE_LINE: Final[Mapping[int, int]] = {10: 32, 13: 32, 0: 32}


def divide(documents: LabelledDocuments, preparation: Preparation, fraction: float, lines: Path, held_out: Path, num_bytes: int) -> Counts:
    """Write the training lines and the held-out documents.

    Args:
        documents: What to read.
        preparation: What is done to each text.
        fraction: Of the texts, to hold out: those with the least hash.
        lines: Where training lines go.
        held_out: Where held-out documents go, an Arrow stream of `HOLDOUT_SCHEMA`, their texts prepared.
        num_bytes: Of the documents, about.
    """
    counts = Counts()
    limit = round(fraction * 2**64)
    with Shuffle(lines.parent, num_bytes) as shuffle, pa.ipc.new_stream(held_out, HOLDOUT_SCHEMA) as stream:
        for texts, labels in documents.read(counts.skipped):
            ready = prepared(texts, lowercase=preparation.lowercase, max_chars=preparation.max_chars)
            kept: list[int] = []
            for row, (text, label) in enumerate(zip(ready.to_pylist(), labels, strict=True)):
                if label is None or not text.strip():
                    counts.skipped["no_label" if label is None else "empty_text"] += 1
                    continue
                digest = blake2b(text.encode(), digest_size=DIGEST_CHARS // 2).hexdigest()
                if int(digest[-16:], 16) < limit:
                    counts.held_out[label] += 1
                    kept.append(row)
                else:
                    counts.trained[label] += 1
                    shuffle.add(digest, as_line(label, text))
            columns = [ready.take(pa.array(kept, pa.int64())), pa.array([labels[row] for row in kept], pa.string())]
            stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=HOLDOUT_SCHEMA))
        counts.conflicting = shuffle.write(lines)
    return counts
