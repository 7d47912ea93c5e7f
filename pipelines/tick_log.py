"""What a schedule has done, as objects in the output that it feeds.

    _shardmill/schedule/<identity>/position.json           since when there is a schedule, and the latest tick that was begun
                                   ticks/2026/11/….json    one record a tick that was brought to its end, whatever came of it
                                   lease.json              whose turn it is

A tick is begun by a compare-and-swap of the position, which only moves on, and done when its record is there: of two schedulers one begins
it, and what was begun and has no record is owed. Ticks between two that were begun were passed over. Knows no clock and no policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipelines.commit import ROOT, TornRecord, sealed, unsealed
from pipelines.errors import Conflict, NotFound, StorageError
from pipelines.storage import Store
from pipelines.ticks import Schedule, Tick, identity, instant_of, instant_text, tick_id

FOLDER: Final = f"{ROOT}/schedule"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a schedule is: `since` when it is there, and the latest tick that somebody began; `etag` of the object that says so."""

    since: datetime
    begun: datetime | None
    etag: str

    @property
    def settled(self) -> datetime:
        """Up to this instant no tick is begun any more."""
        return self.since if self.begun is None else self.begun


class TickLog:
    """The ticks of one schedule of one pipeline, in the store of its output."""

    def __init__(self, store: Store, name: str, schedule: Schedule) -> None:
        self.store = store
        self.name = name
        self.schedule = schedule
        self.identity = identity(store.uri, name, schedule)
        self.folder = f"{FOLDER}/{self.identity}"
        self.lease_path = f"{self.folder}/lease.json"
        self.position_path = f"{self.folder}/position.json"

    def id_of(self, tick: Tick) -> str:
        """What a tick's work is called, whoever does it."""
        return tick_id(self.identity, self.name, tick)

    def path_of(self, instant: datetime) -> str:
        """Where the record of a tick is, or will be."""
        return f"{self.folder}/ticks/{instant:%Y/%m/%Y%m%dt%H%Mz}.json"

    def open(self, now: datetime) -> Position:
        """Where the schedule is; the first who asks writes that it begins now, whoever comes later finds that."""
        try:
            return self._position()
        except NotFound:
            self.store.create(self.position_path, self._content(now, None))
        return self._position()

    def begin(self, position: Position, tick: Tick, by: str) -> Position:
        """Move on to a tick, before its work begins.

        Raises:
            Conflict: Another scheduler has moved on meanwhile.
        """
        if tick.instant <= position.settled:
            raise Conflict(f"{self.store.locate(self.position_path)}: {tick.text} is not later than {instant_text(position.settled)}")
        content = self._content(position.since, tick.instant, by)
        return Position(position.since, tick.instant, self.store.replace(self.position_path, content, etag=position.etag))

    def owed(self, position: Position) -> datetime | None:
        """The latest tick that was begun, if it has no record."""
        return None if position.begun is None or self.record(position.begun) is not None else position.begun

    def record(self, instant: datetime) -> dict[str, Any] | None:
        """What came of a tick; None: it was passed over, or is not at its end."""
        path = self.path_of(instant)
        try:
            return self._unsealed(path, self.store.read(path), "the tick is done again then")
        except NotFound:
            return None

    def finish(self, tick: Tick, told: Mapping[str, Any]) -> bool:
        """Record what came of a tick. False: another one did so before."""
        body = {"tick": tick.text, "wall": tick.wall.isoformat(timespec="minutes"), "id": self.id_of(tick), **told}
        return self.store.create(self.path_of(tick.instant), sealed(body))

    def _position(self) -> Position:
        data, etag = self.store.read_versioned(self.position_path)
        body = self._unsealed(self.position_path, data, "the schedule begins anew then")
        return Position(instant_of(body["since"]), None if body["begun"] is None else instant_of(body["begun"]), etag)

    def _unsealed(self, path: str, data: bytes, what_then: str) -> dict[str, Any]:
        """What is written in an object of the schedule.

        Raises:
            StorageError: It is damaged.
        """
        try:
            return unsealed(data)
        except TornRecord as error:
            raise StorageError(f"{self.store.locate(path)}: it is damaged ({error.message}); remove it: {what_then}") from error

    def _content(self, since: datetime, begun: datetime | None, by: str = "") -> bytes:
        told = {"name": self.name, "cron": self.schedule.cron, "timezone": self.schedule.timezone, "by": by}
        return sealed({**told, "since": instant_text(since), "begun": None if begun is None else instant_text(begun)})
