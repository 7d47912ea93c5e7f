"""The report of the version that a run makes: what it shows is collected before the version counts, and nothing of it fails the run.

Owns what the report is told of the run: its input, its operators, its work, and the versions that it adds to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from pipelines.chain import bounded
from pipelines.commit import Part
from pipelines.documents import ReadOptions
from pipelines.errors import ShardmillError
from pipelines.inventory import Inventory
from pipelines.lineage import Lineage
from pipelines.plan import Ingredients
from pipelines.prepare import DriverAssets
from pipelines.replay import Replay
from pipelines.report import report
from pipelines.report_data import Origin, report_data
from pipelines.shown_texts import MAX_SECONDS, InputTexts
from pipelines.storage import Sources, Store
from pipelines.study import ReportData
from pipelines.unit import MADE_ID
from pipelines.work_tally import WorkTally


@dataclass(frozen=True)
class Reporting:
    """What the report of a run is made from.

    Attributes:
        lineage: The versions that the new one adds to, if any.
        works: What the run's work took.
        tell: Told what went wrong.
    """

    store: Store
    inventory: Inventory
    ingredients: Ingredients
    lineage: Lineage | None
    works: WorkTally
    tell: Callable[[str], None]

    def page(self, manifest: Mapping[str, Any], shards: Sequence[Part]) -> bytes:
        """The report of a version, of whose shards these are the run's own."""
        samples = self.ingredients.config.output.report_samples

        def collect() -> ReportData:
            return report_data(self.store, manifest, shards, self._origin(), samples=samples, works=self.works, tell=self.tell)

        return page_of(manifest, collect, self.tell)

    def _origin(self) -> Origin:
        made, config = self.ingredients, self.ingredients.config
        elsewhere = {self.store.uri: config.output.storage_options}
        sources = Sources(config.input.storage_options, elsewhere, max_seconds=MAX_SECONDS)
        texts = InputTexts(self.inventory, sources, made.options, made.made_id)
        replay = Replay(config.operators, texts.schema, DriverAssets(config, sources, made.assets))
        return Origin(sources, texts, replay, partial(_earlier, self.lineage, sources, made.options), config.execution.seed)


def page_of(manifest: Mapping[str, Any], collect: Callable[[], ReportData], tell: Callable[[str], None] = lambda _: None) -> bytes:
    """The report of a version that is made, with what is collected for it; it says what the manifest does where that goes wrong."""
    try:
        return report(manifest, collect()).encode()
    except Exception as error:  # noqa: BLE001  whatever it is, no version fails for its report
        tell(f"the report shows no more than the manifest: {type(error).__name__}: {bounded(error)}")
        note = f"documents, signals and work could not be shown: {type(error).__name__}"
        return report(manifest, ReportData(notes=(note,))).encode()


def _earlier(lineage: Lineage | None, sources: Sources, options: ReadOptions) -> Iterator[InputTexts]:
    """The inputs of the versions before, newest first, as far as their inventories are here."""
    for manifest in () if lineage is None else lineage.manifests:
        try:
            inventory = lineage.inventory(manifest) if lineage is not None else None
        except ShardmillError:
            continue
        if inventory is not None:
            yield InputTexts(inventory, sources, options, _has_made_ids(inventory.schema, options))


def _has_made_ids(schema: pa.Schema, options: ReadOptions) -> bool:
    return options.id_column is None and MADE_ID not in schema.names
