"""What a dry run stands on: the checks that a run makes before it starts, and the sample that is drawn of its input. Nothing is written.

Owns what a run would find beside its input and a dry run does not use, and that its user is told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from cluster.tasks import InlineExecutor
from operators.base import Assets, GroupOperator
from pipelines import identity
from pipelines.config import PipelineConfig
from pipelines.dryrun_taken_out import without_taken_out
from pipelines.dryrun_texts import Origins
from pipelines.errors import StorageError
from pipelines.exchange_survey import earlier_bytes
from pipelines.formats import ReadOptions
from pipelines.history_planning import history_of, with_history
from pipelines.inventory import Inventory, MapFiles
from pipelines.ledger import most_allowed
from pipelines.legible import counted
from pipelines.legible import size as size_text
from pipelines.prepare import DriverAssets, Prepared, prepare
from pipelines.redaction import redact_uri
from pipelines.sample import Places, Sample, read_sample
from pipelines.sample_frame import Frame, take_frame
from pipelines.sampling import Bounds
from pipelines.storage import Sources, open_store
from pipelines.study import Estimate
from pipelines.tombstones import Tombstones, load_tombstones
from pipelines.unit import MADE_ID

MAX_HISTORY_BYTES: Final = 64 << 20
"""Of what earlier runs left, that a sample is compared with."""
MAX_SECONDS: Final = 20.0
"""How long an output that does not answer is asked again for what a dry run can do without."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """What reading took: of this process's computing, and by the clock."""

    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Ground:
    """A pipeline whose input is known, and documents of it.

    Attributes:
        prepared: As for the real run; where the input has very many files, of some of them.
        frame: What the sample was drawn from.
        sample: The documents, and how they were drawn; without those that were taken out of the output before.
        left: The part of all documents that were not taken out.
        reading: What reading them took.
        notes: What the reader should know of them.
    """

    config: PipelineConfig
    prepared: Prepared
    frame: Frame
    sample: Sample
    left: Estimate
    reading: Seconds
    notes: tuple[str, ...]

    @classmethod
    def of(cls, config: PipelineConfig, documents: int, seed: int, bounds: Bounds) -> Ground:
        """Make the checks of a run, draw a sample and read it.

        Raises:
            ShardmillError: What would stop a run before it starts, or while it reads these documents.
        """
        frames: list[Frame] = []

        def take(sources: Sources, patterns: Sequence[str], options: ReadOptions, *, map_files: MapFiles) -> Inventory:
            frames.append(take_frame(sources, patterns, options, map_files=map_files, seed=seed, bounds=bounds))
            return frames[-1].inventory

        prepared, left_out = _with_little_history(config, prepare(config, InlineExecutor, take=take))
        frame = frames[-1]
        design = frame.draw(documents, seed, bounds)
        cpu, wall = time.process_time(), time.monotonic()
        read = read_sample(frame.sources, prepared.inventory, prepared.ingredients.options, design)
        reading = Seconds(time.process_time() - cpu, time.monotonic() - wall)
        tombstones, told = _tombstones(config)
        sample, left = without_taken_out(read, prepared.inventory, tombstones, config.input.text_column)
        notes = (*read.notes, *left_out, *_notes(prepared, read), *told)
        return cls(config, prepared, frame, sample, left, reading, notes)

    @property
    def assets(self) -> Assets:
        """As operators are opened with in this process."""
        return DriverAssets(self.config, self.frame.sources, self.prepared.ingredients.assets)

    def table(self, places: Places) -> pa.Table:
        """Documents as a run has them: with an id of their own where the input has none."""
        if not self.prepared.ingredients.made_id:
            return places.table
        return places.table.append_column(pa.field(MADE_ID, pa.string()), identity.hexadecimal(self.doc_keys(places)))

    def origins(self, places: Places) -> Origins:
        """Where documents come from."""
        name = self.prepared.ingredients.options.id_column
        column = None if name is None else places.table.column(name).combine_chunks()
        ids = identity.ids(column, self.doc_keys(places)).to_pylist()
        return Origins(ids, places.uris(self.prepared.inventory), places.row)

    def doc_keys(self, places: Places) -> pa.FixedSizeBinaryArray:
        """Who the documents are in the real run."""
        files, at = np.unique(places.file, return_inverse=True)
        prefixes = [identity.uri_prefix(self.prepared.inventory.identity(int(file))[0]) for file in files]
        return identity.doc_keys(prefixes, at, places.row)


def _with_little_history(config: PipelineConfig, prepared: Prepared) -> tuple[Prepared, tuple[str, ...]]:
    """The same with what earlier runs left, if that can be read in a moment; and what is told if not.

    Raises:
        ConfigError: Earlier runs left other keys than this one's operators compare.
    """
    known = with_history(config, prepared)
    history = None if known.ingredients.history is None else history_of(known.ingredients)
    if history is None:
        return known, ()
    compared = [operator for operator in config.operators if isinstance(operator, GroupOperator)]
    size = sum(sum(earlier_bytes(operator, history).values()) for operator in compared)
    if size <= MAX_HISTORY_BYTES:
        return known, ()
    without = replace(known, ingredients=replace(known.ingredients, history=None))
    told = f"earlier runs left {size_text(size)} of keys (history): the sample is not compared with them, and the real run removes more"
    return without, (told,)


def _notes(prepared: Prepared, sample: Sample) -> Iterator[str]:
    damaged = sample.damaged
    if damaged:
        number, share = sum(damaged.values()), sum(damaged.values()) / max(sample.rows_read, 1)
        errors = ", ".join(f"{error} {count:,}" for error, count in damaged.most_common(5))
        yield f"{counted(number, 'row')} of {sample.rows_read:,} that were read ({share:.2%}) cannot be read as documents: {errors}"
    unreadable = len(prepared.inventory.unreadable)
    if unreadable:
        yield f"{counted(unreadable, 'file')} of {prepared.inventory.num_files:,} cannot be read at all; a run lists them and goes on"


def _tombstones(config: PipelineConfig) -> tuple[Tombstones, tuple[str, ...]]:
    """What was taken out of the output before, and what is told of it; an output that cannot be read has none that a dry run could know.

    Raises:
        InputError: A tombstone is damaged.
    """
    store = open_store(config.output.uri, config.output.storage_options)
    store.backoff.max_seconds = MAX_SECONDS
    try:
        found = load_tombstones(store)
    except StorageError as error:
        unseen = f"whether documents were taken out of the output before could not be seen: {redact_uri(error.message)}"
        return load_tombstones(store, ()), (unseen,)
    told = f"{counted(len(found), 'document')} taken out of this output: left out here, as a run leaves out every one that it meets again"
    return found, (told,) if found else ()


def budget_notes(config: PipelineConfig, quarantined: int, documents: int) -> Iterator[str]:
    """What the real run would say of so many rows that cannot be processed, of so many that were looked at."""
    if not quarantined:
        return
    if config.execution.on_error == "fail":
        yield (
            f"{counted(quarantined, 'document')} of the sample cannot be processed, and execution.on_error is fail: the real run would "
            "stop at the first; mend the input or the operator, or set it to quarantine"
        )
        return
    allowed = config.execution.max_quarantined_fraction
    if quarantined > most_allowed(allowed, documents):
        yield (
            f"{counted(quarantined, 'document')} of {documents:,} ({quarantined / documents:.2%}) cannot be processed, and "
            f"execution.max_quarantined_fraction allows {allowed:g}: the real run would probably stop; mend the input or the operator, or "
            "raise it"
        )
