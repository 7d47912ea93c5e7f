"""A dry run: what a pipeline will do to its input and what that will take, told from a sample, in this process, with nothing written.

Owns the order of the steps. The sample goes through the real engine twice where documents are compared with each other: as many documents
as fit a bound, for duplicates, and then the sample itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pipelines.config import PipelineConfig
from pipelines.dryrun_duplicates import Duplicates, bounds_for, find_duplicates
from pipelines.dryrun_estimates import kept_of_all, operator_estimates, readable
from pipelines.dryrun_examples import Examples, Marking, ranks
from pipelines.dryrun_fates import Fates
from pipelines.dryrun_ground import Ground, budget_notes
from pipelines.dryrun_observer import Seen
from pipelines.dryrun_pairs import pairs
from pipelines.dryrun_run import SampleRun, run_sample
from pipelines.dryrun_signals import Signals
from pipelines.dryrun_texts import Texts
from pipelines.guards import sentences
from pipelines.intervals import product
from pipelines.operator_warnings import warning_lines
from pipelines.progress import Silent, Watch
from pipelines.projection import project
from pipelines.projection_census import Census, census_of, sample_group_rows
from pipelines.projection_measured import Drawn, measure
from pipelines.projection_prices import Costs
from pipelines.projection_watch import Recorded
from pipelines.sample_frame import Frame
from pipelines.study import DryRun, Estimate
from pipelines.units import unit_bytes

DOCUMENTS: Final = 2000
EXAMPLES: Final = 10
"""Documents that are shown for a reason."""
MAX_AGAIN_SECONDS: Final = 8.0
"""A run of the sample that took longer is not done again."""


def dry_run(
    config: PipelineConfig, documents: int = DOCUMENTS, seed: int = 0, *, costs: Costs | None = None, watch: Watch | None = None
) -> DryRun:
    """Send a sample of the input through the pipeline.

    Args:
        config: The pipeline.
        documents: How many documents are drawn.
        seed: Draws them.
        costs: For how many cores, and at which prices, the real run is reckoned.
        watch: Told how far it is.

    Raises:
        ShardmillError: What would stop the real run before it starts, or for what these documents hold.
    """
    told = watch or Silent()
    told.note(f"{config.name}: listing the input and reading a sample of it")
    ground = Ground.of(config, documents, seed, bounds_for(config))
    told.note(f"{config.name}: running {len(ground.sample.documents):,} documents through the pipeline")
    return _DryRun(ground, seed, costs).made()


def of_whole(census: Census, frame: Frame) -> Census:
    """What is known of the whole input, where only some of its files were looked into: these, as many times as it has rows."""
    if frame.is_whole or not census.rows:
        return census
    times = frame.rows / census.rows
    size = round(census.group_bytes * times)
    return replace(
        census,
        files=frame.files,
        rows=frame.rows,
        stored_bytes=frame.num_bytes,
        group_bytes=size,
        row_groups=frame.groups,
        batches=round(census.batches * times),
        units=max(1, -(-size // unit_bytes(census.config.execution.unit_bytes, size))),
        unindexed_bytes=frame.num_bytes if census.unindexed_bytes else 0,
    )


class _DryRun:
    """The steps behind the sample."""

    def __init__(self, ground: Ground, seed: int, costs: Costs | None) -> None:
        self._ground = ground
        self._config = ground.config
        self._seed = seed
        self._costs = costs
        self._places = ground.sample.documents
        self._documents = ground.table(self._places)
        self._keys = ground.doc_keys(self._places)
        self._ranks = ranks(seed, self._keys.to_pylist())
        self._names = [str(operator.name) for operator in self._config.operators]

    def made(self) -> DryRun:
        duplicates = find_duplicates(self._ground, self._seed, EXAMPLES)
        source, prepared = self._config.input, self._ground.prepared
        signals = Signals(self._config.operators, self._ground.assets, self._documents.num_rows)
        seen = Seen(source.text_column, self._ranks, EXAMPLES, language_column=self._config.output.language_column, signals=signals)
        group_rows = sample_group_rows(prepared.inventory, self._documents.num_rows, self._config.execution.batch_bytes)
        with run_sample(self._config, prepared, self._documents, group_rows=group_rows, observer=seen, watch=(watch := Recorded())) as ran:
            fates = Fates.of(self._names, ran, self._documents.num_rows)
            again, seconds = self._again(ran, group_rows)
            texts = Texts(self._documents, source.text_column, ran, fates)
            found = self._told(texts, seen, signals, duplicates, _shorter(seen, _seconds(ran), seconds))
            return replace(found, projection=self._projection(ran, (watch, again), seen, found))

    def _projection(self, ran: SampleRun, watches: tuple[Recorded, Recorded | None], seen: Seen, found: DryRun) -> Mapping[str, Any]:
        """What the real run takes."""
        ground, prepared = self._ground, self._ground.prepared
        taken = ground.reading
        drawn = replace(Drawn.of(ground.sample, prepared.inventory, taken.cpu_seconds, taken.wall_seconds), table=self._documents)
        measured = measure(self._config, ran.store, watches[0], drawn, extra_seconds=seen.extra_seconds, again=watches[1])
        census = of_whole(census_of(self._config, prepared), ground.frame)
        return project(census, measured, found.operators, found.kept, self._costs)

    def _again(self, ran: SampleRun, group_rows: int) -> tuple[Recorded | None, Mapping[str, float]]:
        """A second run, unseen, for its time alone, and that of its operators; nothing if it would take long.

        Of two times the shorter one is nearer to what the work takes: what exchanges load and compile is in the first.
        """
        if ran.wall_seconds > MAX_AGAIN_SECONDS:
            return None, {}
        with run_sample(self._config, self._ground.prepared, self._documents, group_rows=group_rows, watch=(watch := Recorded())) as again:
            return watch, _seconds(again)

    def _told(self, texts: Texts, seen: Seen, signals: Signals, duplicates: Duplicates, seconds: Mapping[str, float]) -> DryRun:
        scheme, operators, fates = self._ground.sample.scheme, self._config.operators, texts.fates
        made = operator_estimates(operators, fates, scheme, duplicates.kept, seconds)
        marking = Marking(operators, self._ground.assets, signals)
        origins = self._ground.origins(self._places)
        return DryRun(
            name=self._config.name,
            input=self._input(),
            operators=made,
            kept=kept_of_all(operators, fates, scheme, duplicates.kept, self._readable()),
            thresholds=signals.thresholds(),
            histograms=signals.histograms(),
            examples=tuple(Examples(operators, texts, origins, self._ranks, marking, EXAMPLES).made(seen)),
            pairs=duplicates.pairs or tuple(pairs(operators, texts, origins, self._ranks, EXAMPLES)),
            projection={},
            notes=(*self._notes(texts.ran, fates), *signals.notes),
        )

    def _input(self) -> dict[str, Any]:
        frame, sample = self._ground.frame, self._ground.sample
        return {
            "files": frame.files,
            "rows": frame.rows,
            "bytes": frame.num_bytes,
            "is_estimate": not frame.is_whole,
            "documents": len(self._places),
            "row_groups": len(sample.design.clusters),
            "read_bytes": sample.read_bytes,
            "seed": self._seed,
            "is_census": sample.design.is_census,
        }

    def _readable(self) -> Estimate:
        """The part of the rows that come to the first operator: can be read as documents, and were not taken out of the output."""
        return product([readable(self._ground.sample), self._ground.left])

    def _notes(self, ran: SampleRun, fates: Fates) -> tuple[str, ...]:
        quarantined = int(fates.is_quarantined.sum()) + sum(sum(one.drawn.values()) for one in self._ground.sample.damage)
        guards = sentences(ran.manifest["warnings"])
        return (
            *self._ground.notes,
            *warning_lines(self._ground.prepared.warnings),
            *(f"guards, of the sample alone: {sentence}" for sentence in guards),
            *budget_notes(self._config, quarantined, len(self._places) + quarantined),
        )


def _seconds(ran: SampleRun) -> dict[str, float]:
    """CPU seconds of each operator, by the accounts of a run."""
    return {entry["name"]: float(entry["seconds"]) for entry in ran.manifest["operators"]}


def _shorter(seen: Seen, first: Mapping[str, float], again: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds of each operator on the sample: with those of its other processes, and without what it loaded for its first documents."""
    found = {name: min(value, again.get(name, value)) for name, value in first.items()}
    return found | {name: one.cpu_seconds for name, one in seen.operators.items() if one.rows}
