"""What is known of a real run before it starts, from the inventory, the pipeline and its history: nothing of it is estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.base import GroupOperator, LearningOperator
from pipelines.config import PipelineConfig
from pipelines.exchange_survey import earlier_bytes
from pipelines.history_planning import history_of, with_history
from pipelines.inventory import Inventory
from pipelines.plan import cut
from pipelines.prepare import Prepared
from pipelines.units import plan_units, unit_bytes

UNITS: Final = 4.5
"""Units that a sample should have at least, so that what only the first one pays can be told from the rest; the last is a small one, which
tells what a unit takes by itself."""
UNINDEXED: Final = frozenset({"jsonl", "warc"})
"""Formats whose files have no index: listing them reads them."""


@dataclass(frozen=True, slots=True)
class StageCensus:
    """A stage: the operators that its units apply, and those behind them that need all documents."""

    operators: tuple[str, ...]
    learners: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Census:
    """What is known of a run.

    Attributes:
        rows: Documents of the input.
        stored_bytes: Of its files.
        group_bytes: Uncompressed bytes of it, by the inventory.
        batches: Batches that its documents come in: none crosses a row group.
        unindexed_bytes: Stored bytes of files that have to be read to be listed.
        largest_unit_bytes: Uncompressed bytes of the largest unit.
        largest_row_bytes: A document has at most so many, as far as row groups of one row tell; 0: they tell nothing.
        earlier_bytes: Of what earlier runs left in the history, by operator and role; None: there is no history.
    """

    config: PipelineConfig
    stages: tuple[StageCensus, ...]
    files: int
    rows: int
    stored_bytes: int
    group_bytes: int
    row_groups: int
    batches: int
    units: int
    largest_unit_bytes: int
    largest_row_bytes: int
    unindexed_bytes: int
    made_id: bool
    earlier_bytes: Mapping[str, Mapping[str, int]] | None = None

    def group_operator(self, name: str) -> GroupOperator:
        """The group operator of a name."""
        return next(one for one in self.config.operators if one.name == name and isinstance(one, GroupOperator))

    def learner(self, name: str) -> LearningOperator:
        """The learning operator of a name."""
        return next(one for one in self.config.operators if one.name == name and isinstance(one, LearningOperator))


def census_of(config: PipelineConfig, prepared: Prepared) -> Census:
    """Count what there is; of a history only its tables are read.

    Args:
        config: The pipeline of the real run.
        prepared: What was found out for it.

    Raises:
        ConfigError: Earlier runs left other keys in the history than this one's operators compare.
    """
    inventory = prepared.inventory
    size = int(inventory.group_bytes.sum())
    units = plan_units(inventory, unit_bytes(config.execution.unit_bytes, size))
    alone = inventory.group_rows == 1
    return Census(
        config=config,
        stages=_stages(config),
        files=inventory.num_files,
        rows=inventory.rows,
        stored_bytes=inventory.num_bytes,
        group_bytes=size,
        row_groups=len(inventory.group_rows),
        batches=batches_of(inventory, config.execution.batch_bytes),
        units=len(units),
        largest_unit_bytes=max((unit.bytes for unit in units), default=0),
        largest_row_bytes=int(inventory.group_bytes[alone].max()) if alone.any() else 0,
        unindexed_bytes=_unindexed_bytes(inventory),
        made_id=prepared.ingredients.made_id,
        earlier_bytes=_earlier(config, prepared),
    )


def _earlier(config: PipelineConfig, prepared: Prepared) -> dict[str, dict[str, int]] | None:
    """Bytes of what earlier runs left, by operator and role; None without a history."""
    if config.history is None:
        return None
    known = prepared if prepared.ingredients.history is not None else with_history(config, prepared)
    history = history_of(known.ingredients)
    operators = [operator for operator in config.operators if isinstance(operator, GroupOperator)]
    return {} if history is None else {str(operator.name): earlier_bytes(operator, history) for operator in operators}


def batches_of(inventory: Inventory, batch_bytes: int) -> int:
    """Batches that the documents come in, of at most so many bytes."""
    return int(np.ceil(np.maximum(inventory.group_bytes, 1) / batch_bytes)[inventory.group_rows > 0].sum())


def sample_group_rows(inventory: Inventory, documents: int, batch_bytes: int) -> int:
    """Rows of a row group in a sample of so many documents: those of a batch of the real input, so that a document costs the same in it.

    Fewer where the sample would have less than four units.
    """
    batches = batches_of(inventory, batch_bytes)
    usual = math.ceil(inventory.rows / batches) if batches else 1
    return max(1, min(usual, math.ceil(documents / UNITS)))


def _stages(config: PipelineConfig) -> tuple[StageCensus, ...]:
    made = []
    for batch, ends in cut(config.operators):
        learners = tuple(str(end.name) for end in ends if isinstance(end, LearningOperator))
        groups = tuple(str(end.name) for end in ends if isinstance(end, GroupOperator))
        made.append(StageCensus(tuple(str(one.name) for one in batch), learners, groups))
    return tuple(made)


def _unindexed_bytes(inventory: Inventory) -> int:
    """All files are taken to be of the first one's format, as nearly all inputs' are."""
    return inventory.num_bytes if inventory.num_files and inventory.file(0, 0, 0).format in UNINDEXED else 0
