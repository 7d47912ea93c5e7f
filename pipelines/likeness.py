"""Whether new documents are like those of the version that they are added to, so that one reader can use both.

Owns what is compared: folders of partitions, token ids, kinds of ids. Columns are compared where the plan is known (growth.py), keys of
deduplication where they are (history.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from operators.base import Operator
from pipelines.config import PipelineConfig
from pipelines.errors import IngestRefused, shown
from pipelines.growth import ANEW
from pipelines.inventory import Inventory
from pipelines.lineage import Lineage
from pipelines.redaction import redact_settings
from pipelines.results import operator_assets

TOKENIZE: Final = "tokenize"
NOT_OF_IDS: Final = frozenset({"name", "type", "tokenizer", "cache_bytes", "engine", "id_type"})
"""Settings of `tokenize` that change no token id; the ids' type is a column's type, which is compared as such."""


def check_settings(config: PipelineConfig, before: Lineage) -> None:
    """Refuse shards in other folders than those that are there, and texts that are in another column.

    Raises:
        IngestRefused: The version before was made with another `partition_by` or `text_column`.
    """
    had = before.newest["config"]
    folders = list(had["output"].get("partition_by") or ())
    if folders != list(config.output.partition_by):
        raise IngestRefused(
            f"output.partition_by: {before.newest['version']} is partitioned by {shown(folders)}, the new documents would be by "
            f"{shown(list(config.output.partition_by))}; {ANEW}"
        )
    column = had["input"].get("text_column", config.input.text_column)
    if column != config.input.text_column:
        raise IngestRefused(
            f"input.text_column: {before.newest['version']} was made of the texts in {column!r}, the new documents would be of those in "
            f"{config.input.text_column!r}; {ANEW}"
        )


def check_ids(config: PipelineConfig, before: Lineage, inventory: Inventory) -> None:
    """Refuse ids of two kinds in one dataset: the users' own and doc_keys.

    Raises:
        IngestRefused: The new files have the id column, those before had none.
    """
    name = config.input.id_column
    if name is not None and name not in before.schema.names and name in inventory.schema.names:
        raise IngestRefused(
            f"input.id_column: the new files have the column {name!r}, those taken in before have not, and their ids are doc_keys; "
            f"set input.id_column to null, or {ANEW}"
        )


def check_tokens(config: PipelineConfig, before: Lineage, assets: Mapping[str, str]) -> None:
    """Refuse token ids that mean something else than those that are there.

    Args:
        config: The pipeline of the new documents.
        before: The version that they are added to.
        assets: sha256 of every asset of the pipeline, by address.

    Raises:
        IngestRefused: The version before was tokenized with another tokenizer, or with the same in another way.
    """
    then = list(_tokenizers(before.newest["operators"], _learned(before)))
    now = list(_tokenizers([_entry(operator, assets) for operator in config.operators], {}))
    if len(then) == len(now) and all(one.gives_ids_of(other) for one, other in zip(then, now, strict=True)):
        return
    raise IngestRefused(
        f"tokenize: the token ids of {before.newest['version']} were made with {_told(then)}, those of the new documents would be with "
        f"{_told(now)}; use the same tokenizer in the same way, or {ANEW}"
    )


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """How texts were tokenized: the file by its address and, where that is known, by its content; and what was set besides."""

    name: str
    sha256: str | None
    settings: Mapping[str, Any]

    def gives_ids_of(self, other: _Tokenizer) -> bool:
        """Whether both give the same ids; versions from before contents were written down are told apart by the address."""
        is_known = self.sha256 is not None and other.sha256 is not None
        is_same_file = self.sha256 == other.sha256 if is_known else self.name == other.name
        both = self.settings.keys() & other.settings.keys()  # a release may know more settings than the one before
        return is_same_file and all(self.settings[name] == other.settings[name] for name in both)

    def __str__(self) -> str:
        content = "" if self.sha256 is None else f" (sha256 {self.sha256[:8]}…)"
        settings = ", ".join(f"{name}: {value!r}" for name, value in self.settings.items())
        return f"{self.name}{content}, {settings}"


def _told(tokenizers: Sequence[_Tokenizer]) -> str:
    return "; ".join(shown(str(one)) for one in tokenizers) or "nothing"


def _tokenizers(operators: Sequence[Mapping[str, Any]], learned: Mapping[str, str]) -> Iterator[_Tokenizer]:
    """What texts were tokenized with, in the pipeline's order, from the operators as a manifest has them."""
    for one in operators:
        if one["type"] == TOKENIZE:
            settings = one["settings"]
            name = str(settings["tokenizer"])
            contents = [*one.get("assets", {}).values(), *([learned[name]] if name in learned else [])]
            rest = {key: value for key, value in settings.items() if key not in NOT_OF_IDS}
            yield _Tokenizer(name, contents[0] if contents else None, rest)


def _entry(operator: Operator, assets: Mapping[str, str]) -> dict[str, Any]:
    settings = redact_settings(operator.model_dump(mode="json"), operator.by_kind)
    return {"type": operator.type, "settings": settings, "assets": operator_assets(operator, assets)}


def _learned(before: Lineage) -> dict[str, str]:
    """sha256 of the files that the newest version's own operators learned, by the operator's name."""
    return {entry["operator"]: entry["sha256"] for entry in before.newest.get("learned", ())}
