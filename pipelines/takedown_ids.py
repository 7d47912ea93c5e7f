"""The file that says which documents are to be taken out of an output: ids and doc_keys.

Owns how such files are read. Does not know which documents there are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines import identity
from pipelines.errors import ConfigError, shown

DOC_KEY: Final = re.compile(r"[0-9a-fA-F]{32}")
COLUMNS: Final = ("id", "doc_key")
"""Columns of a table, and keys of a JSON object, that may hold them."""
MAX_PROBLEMS: Final = 20

Keys = npt.NDArray[np.bytes_]
"""doc_keys as `S16`."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be taken out, each once.

    Attributes:
        names: Ids and doc_keys as they were written, sorted.
        keys: The doc_keys among them, sorted.
        key_names: Place of each of these in `names`.
    """

    names: pa.StringArray
    keys: Keys
    key_names: Ints

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sha256(self) -> str:
        """Digest of the sorted list, each name with its length in front: what the manifest tells instead of the names."""
        state = hashlib.sha256()
        for name in self.names.to_pylist():
            data = name.encode()
            state.update(b"%d:" % len(data))
            state.update(data)
        return state.hexdigest()

    def of_ids(self, ids: pa.Array) -> pa.Int32Array:
        """For each id, the place of the name that is it; null where there is none."""
        return pc.index_in(ids, value_set=self.names, skip_nulls=True)

    def of_keys(self, keys: Keys) -> Ints:
        """For each doc_key, the place of the name that is it; -1 where there is none."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.key_names[at], -1)


class Line(NamedTuple):
    """A line of a file: a name, or what is wrong with it."""

    number: int
    name: str = ""
    problem: str = ""


def wanted_of(names: Iterable[str]) -> Wanted:
    """The documents of these names."""
    distinct = sorted(set(names))
    pairs = sorted((bytes.fromhex(name), place) for place, name in enumerate(distinct) if DOC_KEY.fullmatch(name))
    keys = np.frombuffer(b"".join(key for key, _ in pairs), "S16") if pairs else np.empty(0, "S16")
    return Wanted(pa.array(distinct, pa.string()), keys, np.array([place for _, place in pairs], np.int64))


def read_wanted(file: Path) -> Wanted:
    """The ids and doc_keys of a file; the extension tells how they are written.

    `.jsonl`, `.ndjson`: one JSON value a line, a text, a number, or an object with `id` or `doc_key`. `.csv`, `.parquet`: the column `id`,
    else `doc_key`, else the only one. Anything else is text: one a line as it stands, without the spaces around it; empty lines and those
    that begin with `#` are none.

    Raises:
        ConfigError: Something in it is none; names the line. Or there is none in it, or the file cannot be read.
    """
    try:
        match file.suffix.lower():
            case ".jsonl" | ".ndjson":
                names = _named(file, _json_lines(_lines(file)))
            case ".parquet" | ".csv":
                names = _column(file)
            case _:
                names = _named(file, _plain_lines(_lines(file)))
    except OSError as error:
        raise ConfigError(f"{file}:1: the file cannot be read ({error.strerror or shown(error)}); give one that you may read") from error
    if not names:
        raise ConfigError(f"{file}:1: there is no id in it; expected one id, or one doc_key of 32 hexadecimal digits, a line")
    return wanted_of(names)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return enumerate((line.removesuffix(b"\r") for line in data.split(b"\n")), 1)


def _plain_lines(lines: Iterable[tuple[int, bytes]]) -> Iterator[Line]:
    for number, line in lines:
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            yield Line(number, problem="it is not UTF-8")
            continue
        if text and not text.startswith("#"):
            yield Line(number, text)


def _json_lines(lines: Iterable[tuple[int, bytes]]) -> Iterator[Line]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield Line(number, problem="it is no JSON")
            continue
        if isinstance(value, dict):
            value = next((value[name] for name in COLUMNS if value.get(name) is not None), None)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            yield Line(number, problem="expected a text, a number, or an object with `id` or `doc_key`")
        else:
            yield Line(number, str(value))


def _named(file: Path, found: Iterable[Line]) -> list[str]:
    names: list[str] = []
    problems: list[str] = []
    for line in found:
        if line.problem:
            problems.append(f"{file}:{line.number}: this line is no id: {line.problem}")
        else:
            names.append(line.name)
    if problems:
        raise ConfigError("\n".join([*problems[:MAX_PROBLEMS], *_more(problems)]))
    return names


def _more(problems: Sequence[str]) -> Iterator[str]:
    if len(problems) > MAX_PROBLEMS:
        yield f"{problems[-1].partition(': ')[0]}: this and {len(problems) - MAX_PROBLEMS - 1} more lines are none either"


def _column(file: Path) -> list[str]:
    try:
        table = pq.read_table(file) if file.suffix.lower() == ".parquet" else pa_csv.read_csv(file, convert_options=_as_text(file))
    except pa.ArrowException as error:
        raise ConfigError(f"{file}:1: it cannot be read as {file.suffix[1:]}: {shown(error)}") from error
    names = [name for name in COLUMNS if table.column_names.count(name) == 1] or (table.column_names if table.num_columns == 1 else [])
    if not names or pa.types.is_nested(table.schema.field(names[0]).type):
        found = shown(", ".join(f"{field.name} ({field.type})" for field in table.schema))
        raise ConfigError(f"{file}:1: expected a column `id` or `doc_key` of texts or numbers; found: {found}")
    texts = (identity.plain_ids(chunk) for chunk in table.column(names[0]).chunks)
    return [name for chunk in texts for name in chunk.to_pylist() if name]


def _as_text(file: Path) -> pa_csv.ConvertOptions:
    """Every column as text: `007` is an id."""
    with pa_csv.open_csv(file) as reader:
        return pa_csv.ConvertOptions(column_types={name: pa.string() for name in reader.schema.names}, strings_can_be_null=False)
