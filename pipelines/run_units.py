"""Which units a run has: cut from the inventory, those that are committed as they are, and the halves of those that no worker could hold.

Shared by runs and the `plan` command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipelines.commit import ROOT, CommitLog, TornRecord, unsealed
from pipelines.config import PipelineConfig
from pipelines.inventory import Inventory
from pipelines.plan import Plan
from pipelines.storage import Store
from pipelines.units import Unit, plan_units, unit_bytes, with_splits

SPLITS: Final = f"{ROOT}/splits"


def read_splits(store: Store, plan: Plan) -> dict[str, str]:
    """Units that no worker could hold, by key, with what was last heard: they are replaced by their halves.

    A unit of one row counts only while the plan has the stage that died of it: with a mended operator the row is tried again.
    """
    stages = {stage.fingerprint for stage in plan.stages}
    found = {}
    for info in store.list(SPLITS):
        try:
            body = unsealed(store.read(info.path))
        except TornRecord:
            continue  # the unit is tried whole again, and split again if need be
        if not body["stage"] or body["stage"] in stages:
            found[str(body["unit"])] = str(body["why"])
    return found


def current_units(config: PipelineConfig, inventory: Inventory, splits: Mapping[str, str], log: CommitLog) -> list[Unit]:
    """The units of a run: those that are committed as they are, the rest cut anew, and the too large ones split."""
    target = unit_bytes(config.execution.unit_bytes, int(inventory.group_bytes.sum()))
    units = plan_units(inventory, target)
    kept = committed_stretches(inventory, log, units)
    return list(with_splits(inventory, plan_units(inventory, target, kept) if kept else units, splits))


def committed_stretches(inventory: Inventory, log: CommitLog, units: Sequence[Unit]) -> list[tuple[int, int]]:
    """Stretches of this inventory that units committed before cover exactly, and whose files have not changed.

    None if all committed units are among those that it would be cut into anyway: then the cut around them is the same, so that the
    records of a run that was only stopped need not be read for it.
    """
    ours = {unit.key for unit in units}
    ordinals: dict[tuple[str, str], int] = {}
    found = []
    others = [key for key in log.keys() if key not in ours]  # noqa: SIM118  a log is no mapping
    for record in log.records(others):
        if record.kind == "unit":
            ordinals = ordinals or {of: ordinal for ordinal, of in enumerate(inventory.identities(0, inventory.num_files))}
            stretch = _stretch(inventory, ordinals, record.detail["unit"])
            if stretch is not None:
                found.append(stretch)
    return [*found, *((unit.first_group, unit.stop_group) for unit in units if unit.key in log)] if found else []


def _stretch(inventory: Inventory, ordinals: Mapping[tuple[str, str], int], unit: Mapping[str, Any]) -> tuple[int, int] | None:
    position: int | None = None
    start = 0
    for uri, etag, first, stop in unit["files"]:
        ordinal = ordinals.get((uri, etag))
        if ordinal is None:
            return None
        base = int(inventory.file_first_group[ordinal])
        if position is None:
            start = position = base + first
        if base + first != position:
            return None
        position = base + stop
    if position is None or unit["skip"] or int(inventory.group_rows[start:position].sum()) != unit["rows"]:
        return None
    return start, position
