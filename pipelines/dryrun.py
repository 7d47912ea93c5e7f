"""A dry run: what a pipeline will do to its input and what that will take, told from a sample, in this process, with nothing written.

Owns the order of the steps. The sample goes through the real engine twice where documents are compared with each other: as many documents
as fit a bound, for duplicates, and then the sample itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from operators.base import GroupOperator, LearningOperator
from pipelines import identity
from pipelines.config import PipelineConfig
from pipelines.dryrun_estimates import Corrected, kept_of_all, operator_estimates
from pipelines.dryrun_examples import Examples, Marking, ranks
from pipelines.dryrun_fates import Fates
from pipelines.dryrun_ground import Ground, budget_notes
from pipelines.dryrun_observer import Seen
from pipelines.dryrun_pairs import pairs
from pipelines.dryrun_run import SampleRun, run_sample
from pipelines.dryrun_signals import Signals
from pipelines.dryrun_texts import Origins, Texts
from pipelines.guards import sentences
from pipelines.operator_warnings import warning_lines
from pipelines.progress import Silent, Watch
from pipelines.study import DryRun, Estimate

DOCUMENTS: Final = 2000
EXAMPLES: Final = 10
"""Documents that are shown for a reason."""
WARM_DOCUMENTS: Final = 8


def dry_run(config: PipelineConfig, documents: int = DOCUMENTS, seed: int = 0, *, watch: Watch | None = None) -> DryRun:
    """Send a sample of the input through the pipeline.

    Args:
        config: The pipeline.
        documents: How many documents are drawn.
        seed: Draws them.
        watch: Told how far it is.

    Raises:
        ShardmillError: What would stop the real run before it starts, or for what these documents hold.
    """
    told = watch or Silent()
    told.note(f"{config.name}: listing the input and reading a sample of it")
    ground = Ground.of(config, documents, seed)
    told.note(f"{config.name}: running {len(ground.sample.documents):,} documents through the pipeline")
    return _DryRun(ground, seed).made()


class _DryRun:
    """The steps behind the sample."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self._ground = ground
        self._config = ground.config
        self._seed = seed
        self._places = ground.sample.documents
        self._documents = ground.table(self._places)
        self._keys = ground.doc_keys(self._places)
        self._ranks = ranks(seed, self._keys.to_pylist())
        self._names = [str(operator.name) for operator in self._config.operators]

    def made(self) -> DryRun:
        corrected = self._duplicates()
        source, prepared = self._config.input, self._ground.prepared
        signals = Signals(self._config.operators, self._ground.assets, self._documents.num_rows)
        seen = Seen(source.text_column, self._ranks, EXAMPLES, language_column=self._config.output.language_column, signals=signals)
        self._warm()
        with run_sample(self._config, prepared, self._documents, observer=seen) as ran:
            fates = Fates.of(self._names, ran, self._documents.num_rows)
            return self._told(Texts(self._documents, source.text_column, ran, fates), seen, signals, corrected)

    def _warm(self) -> None:
        """Compile and load what exchanges and learning need, which the real run does once for very many documents."""
        ends = [operator for operator in self._config.operators if isinstance(operator, GroupOperator | LearningOperator)]
        if ends and self._documents.num_rows > WARM_DOCUMENTS:
            some = self._documents.slice(0, WARM_DOCUMENTS)
            with suppress(Exception), run_sample(self._config, self._ground.prepared, some):  # what fails is seen when it counts
                pass

    def _duplicates(self) -> Mapping[str, Corrected]:
        return {}

    def _told(self, texts: Texts, seen: Seen, signals: Signals, corrected: Mapping[str, Corrected]) -> DryRun:
        scheme, operators, fates = self._ground.sample.scheme, self._config.operators, texts.fates
        made = operator_estimates(operators, fates, scheme, corrected, self._seconds(texts.ran, seen))
        marking = Marking(operators, self._ground.assets, signals)
        origins = self._origins()
        return DryRun(
            name=self._config.name,
            input=self._input(),
            operators=made,
            kept=kept_of_all(operators, fates, scheme, made, self._readable()),
            thresholds=signals.thresholds(),
            histograms=signals.histograms(),
            examples=tuple(Examples(operators, texts, origins, self._ranks, marking, EXAMPLES).made(seen)),
            pairs=tuple(pairs(operators, texts, origins, self._ranks, EXAMPLES)),
            projection={},
            notes=(*self._notes(texts.ran, fates), *signals.notes),
        )

    def _seconds(self, ran: SampleRun, seen: Seen) -> dict[str, float]:
        """CPU seconds of each operator on the sample; those of exchanges from the accounts of the run."""
        found = {entry["name"]: float(entry["seconds"]) for entry in ran.manifest["operators"]}
        return found | {name: one.cpu_seconds for name, one in seen.operators.items() if one.rows}

    def _input(self) -> dict[str, Any]:
        inventory, sample = self._ground.prepared.inventory, self._ground.sample
        return {
            "files": inventory.num_files,
            "rows": inventory.rows,
            "bytes": inventory.num_bytes,
            "documents": len(self._places),
            "row_groups": len(sample.design.clusters),
            "read_bytes": sample.read_bytes,
            "seed": self._seed,
            "is_census": sample.design.is_census,
        }

    def _readable(self) -> Estimate:
        """The part of the rows that can be read as documents."""
        sample = self._ground.sample
        rate = 1 - sum(sample.damaged.values()) / max(sample.rows_read, 1)
        return Estimate(rate, rate, rate)

    def _origins(self) -> Origins:
        id_column = self._ground.prepared.ingredients.options.id_column
        column = None if id_column is None else self._documents.column(id_column).combine_chunks()
        ids = identity.ids(column, self._keys).to_pylist()
        return Origins(ids, self._places.uris(self._ground.prepared.inventory), self._places.row)

    def _notes(self, ran: SampleRun, fates: Fates) -> tuple[str, ...]:
        quarantined = int(fates.is_quarantined.sum()) + sum(sum(one.drawn.values()) for one in self._ground.sample.damage)
        guards = sentences(ran.manifest["warnings"])
        return (
            *self._ground.notes,
            *warning_lines(self._ground.prepared.warnings),
            *(f"guards, of the sample alone: {sentence}" for sentence in guards),
            *budget_notes(self._config, quarantined, len(self._places) + quarantined),
        )
