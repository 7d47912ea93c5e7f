"""What an operator has learned, on its way from the task that learned it to the workers that use it, and into the version.

Owns where the file lies and how an operator on a worker gets at it; how it is learned, `learning.py` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.base import Learned, LearningOperator
from pipelines.assets import local_copy
from pipelines.commit import digest
from pipelines.errors import InputChanged
from pipelines.operatorspec import OperatorSpec
from pipelines.storage import Store
from pipelines.version import write_once
from pipelines.worker import Worker


@dataclass(frozen=True, slots=True)
class LearnedFile:
    """A learned file in the output's store, known by its content.

    Attributes:
        operator: Who learned it.
        file: Its name, as the operator gives it.
        path: Of the committed part.
        documents: How many documents it was learned from, and `sample_bytes` how many bytes of their text.
    """

    operator: OperatorSpec
    file: str
    path: str
    bytes: int
    sha256: str
    documents: int
    sample_bytes: int

    @property
    def name(self) -> str:
        """Of the operator."""
        return self.operator.name

    def place(self, folder: str) -> str:
        """Where it lies in a version, given the version's folder."""
        return f"{folder}/learned/{self.name}/{self.file}"

    def to_json(self, folder: str) -> dict[str, Any]:
        """As it stands in the manifest of a version."""
        return {
            "operator": self.name,
            "path": self.place(folder),
            "bytes": self.bytes,
            "sha256": self.sha256,
            "documents": self.documents,
            "sample_bytes": self.sample_bytes,
        }


class StageAssets:
    """A worker as the operators of one stage see it: with what those of earlier stages have learned."""

    def __init__(self, worker: Worker, learned: Sequence[LearnedFile] = ()) -> None:
        self._worker = worker
        self._learned = {file.name: file for file in learned}

    @property
    def text_column(self) -> str:
        """Name of the text column."""
        return self._worker.text_column

    @property
    def seed(self) -> int:
        """`execution.seed`."""
        return self._worker.seed

    def path(self, uri: str) -> str:
        """Local copy of an asset."""
        return self._worker.path(uri)

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        """The parsed YAML files of an asset, by name."""
        return self._worker.tables(uri)

    def learned(self, name: str) -> Learned | None:
        """What an operator of an earlier stage has learned; fetched at its first use on this machine."""
        found = self._learned.get(name)
        if found is None:
            return None
        operator = found.operator.load()
        assert isinstance(operator, LearningOperator)
        return Learned(operator, str(local_copy(_chunks(self._worker.store, found), found.file, found.sha256, found.path)))


def _chunks(store: Store, file: LearnedFile) -> Iterator[bytes]:
    """The bytes, read when they are asked for."""
    yield content(store, file)


def content(store: Store, file: LearnedFile) -> bytes:
    """The bytes of a learned file.

    Raises:
        InputChanged: They are not those that were committed.
    """
    data = store.read(file.path)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise InputChanged(
            f"{file.path}: {len(data)} bytes with the sha256 {found[:12]}…, {file.bytes} with {file.sha256[:12]}… were committed: it was "
            "changed or damaged; restore it, or remove the output's _shardmill folder to run from the start"
        )
    return data


def publish_learned(store: Store, files: Sequence[LearnedFile], folder: str) -> None:
    """Write the learned files into a version's folder."""
    for file in files:
        write_once(store, file.place(folder), content(store, file))


def state_of(files: Sequence[LearnedFile]) -> str:
    """What opened operators depend on besides their stage; empty where nothing is learned."""
    return digest(*(word for file in files for word in (file.name, file.sha256))) if files else ""
