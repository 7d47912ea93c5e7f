"""What differs between two versions, from their manifests alone: counts, sources, operators, settings, the ledger, the environment.

Pure, and bounded by the two manifests. Owns what is compared and what counts as the same; difference_sections.py lays it out, and
difference_documents.py says which documents came and went, for which it reads files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipelines.difference_settings import Change, OperatorChange, compare_operators, compare_settings, compare_values, settings_of
from pipelines.guards import sentences

Lineage = Literal["first", "same", "child", "descendant", "ancestor", "unrelated", "unknown"]
NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "documents": ("output", "rows"),
    "tokens": ("output", "tokens"),
    "shards": ("output", "shards"),
    "bytes": ("output", "bytes"),
    "text_bytes": ("documents", "text_bytes"),
    "token_shards": ("output", "token_shards", "shards"),
    "rows_in": ("ledger", "rows_in"),
    "dropped": ("tables", "dropped", "rows"),
    "duplicates": ("tables", "duplicates", "rows"),
    "quarantined": ("tables", "quarantine", "rows"),
    "input_files": ("input", "files"),
    "input_bytes": ("input", "bytes"),
    "unreadable_files": ("input", "unreadable_files"),
}
"""Names of numbers, and where a manifest has them."""
IN_OTHER_PLACES: Final = ("operators", "name", "output.licence")
"""Settings of the pipeline file that are compared where the manifest says what came of them."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number before and after; None where a version does not have it."""

    name: str
    old: int | None
    new: int | None

    @property
    def differs(self) -> bool:
        """Whether the versions say different things."""
        return self.old != self.new

    def to_json(self) -> dict[str, int | None]:
        """The two values."""
        return {"old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Named:
    """Documents of one source, language or length, and their tokens or bytes of text, before and after."""

    name: str
    documents: Number
    amount: Number

    def to_json(self) -> dict[str, Any]:
        """Name and numbers."""
        return {"name": self.name, "documents": self.documents.to_json(), self.amount.name: self.amount.to_json()}


@dataclass(frozen=True, slots=True)
class Breakdown:
    """How documents divide by one kind of name.

    Attributes:
        kind: `source`, `language` or `length`.
        unit: What is summed up beside documents: `tokens` or `text_bytes`.
        lines: Names whose numbers differ, the largest difference first.
        num_same: Names whose numbers are the same.
    """

    kind: str
    unit: str
    lines: tuple[Named, ...]
    num_same: int

    def to_json(self) -> dict[str, Any]:
        """Kind, unit and lines."""
        return {"kind": self.kind, "unit": self.unit, "lines": [line.to_json() for line in self.lines], "same": self.num_same}


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows that an operator dropped for a reason, before and after; with an empty operator, rows quarantined with this error."""

    operator: str
    reason: str
    rows: Number

    def to_json(self) -> dict[str, Any]:
        """Operator, reason and numbers; an error has no operator."""
        named = {"operator": self.operator, "reason": self.reason} if self.operator else {"error": self.reason}
        return {**named, **self.rows.to_json()}


@dataclass(frozen=True, slots=True)
class Version:
    """Which version it is."""

    name: str
    version: str
    created_at: str
    run_id: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Version:
        """Of a manifest."""
        return cls(*(str(manifest[key]) for key in ("name", "version", "created_at", "run_id")))

    def to_json(self) -> dict[str, str]:
        """As the manifest says it."""
        return {"name": self.name, "version": self.version, "created_at": self.created_at, "run_id": self.run_id}


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two versions.

    Attributes:
        old: None: there was none before, and everything is new.
        lineage: What the new version is of the old one: its `child` or later `descendant`, by the digests in `parents`; its `ancestor`;
            the `same`, byte for byte; `first` where there is no old one; `unrelated` if neither names the other; `unknown` without digests.
        numbers: All of `NUMBERS`, and of the history and the limit, that one of them has, also those that are the same.
        dropped: By operator and reason, only what differs, the largest difference first.
        operators: Those that came, went, moved, or have other settings.
        settings: Of the pipeline file but its operators.
        columns: Of the documents, with their types.
        learned: Files that operators learned, with their digests.
        warnings: Of guards, that only the new version has; `warnings_gone` that only the old one has.
        packages: Versions of Python and of libraries.
        fingerprints: Whether pipeline (`config`), input (`inputs`) and `code` are the same; empty without an old version.
    """

    old: Version | None
    new: Version
    lineage: Lineage
    numbers: tuple[Number, ...]
    breakdowns: tuple[Breakdown, ...]
    dropped: tuple[Lost, ...]
    quarantined: tuple[Lost, ...]
    operators: tuple[OperatorChange, ...]
    about: tuple[Change, ...]
    settings: tuple[Change, ...]
    columns: tuple[Change, ...]
    learned: tuple[Change, ...]
    warnings: tuple[str, ...]
    warnings_gone: tuple[str, ...]
    packages: tuple[Change, ...]
    fingerprints: Mapping[str, bool]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but the version's name and time."""
        lists = (self.dropped, self.quarantined, self.operators, self.about, self.settings, self.columns, self.learned, self.warnings)
        more = (self.warnings_gone, self.packages, *(one.lines for one in self.breakdowns))
        numbers = any(number.differs for number in self.numbers)
        return self.old is not None and not numbers and not any(map(len, (*lists, *more))) and all(self.fingerprints.values())

    def number(self, name: str) -> Number:
        """One of the numbers; with None twice where neither version has it."""
        return next((number for number in self.numbers if number.name == name), Number(name, None, None))

    def to_json(self) -> dict[str, Any]:
        """As `shardmill diff --json` prints it."""
        changes = ("about", "settings", "columns", "learned", "packages")
        return {
            "old": None if self.old is None else self.old.to_json(),
            "new": self.new.to_json(),
            "lineage": self.lineage,
            "same": self.is_same,
            "numbers": {number.name: number.to_json() for number in self.numbers},
            "breakdowns": [one.to_json() for one in self.breakdowns],
            "dropped": [line.to_json() for line in self.dropped],
            "quarantined": [line.to_json() for line in self.quarantined],
            "operators": [operator.to_json() for operator in self.operators],
            **{name: [change.to_json() for change in getattr(self, name)] for name in changes},
            "warnings": {"new": list(self.warnings), "gone": list(self.warnings_gone)},
            "fingerprints": {name: "same" if same else "differs" for name, same in self.fingerprints.items()},
        }


def compare(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    *,
    old_digest: str | None = None,
    new_digest: str | None = None,
    ancestors: Collection[str] = (),
    ancestors_of_old: Collection[str] = (),
) -> Difference:
    """Compare two manifests of the right shape (`verify_manifest.shape_problems`); optional keys of either may be missing.

    Args:
        old: None: there is no version before; everything is new.
        new: The other one.
        old_digest: SHA-256 of the old manifest's bytes, by which the new one's `parents` name it; None: not known.
        new_digest: Of the new one's.
        ancestors: Digests of the versions before the new one's parents, where they are known.
        ancestors_of_old: The same of the old one's.
    """
    return Difference(
        old=None if old is None else Version.of(old),
        new=Version.of(new),
        lineage=_lineage(old, new, (old_digest, new_digest), ancestors, ancestors_of_old),
        numbers=tuple(_numbers(old, new)),
        breakdowns=tuple(_breakdowns(old, new)),
        dropped=tuple(_dropped(old, new)),
        quarantined=tuple(_quarantined(old, new)),
        operators=tuple(compare_operators(() if old is None else old["operators"], new["operators"])),
        about=tuple(compare_values(_about(old), _about(new))),
        settings=tuple(compare_settings(_settings(old), _settings(new))),
        columns=tuple(compare_values(_columns(old), _columns(new))),
        learned=tuple(compare_values(_learned(old), _learned(new))),
        warnings=tuple(_warnings_only_in(new, old)),
        warnings_gone=() if old is None else tuple(_warnings_only_in(old, new)),
        packages=tuple(compare_values(_packages(old), _packages(new))),
        fingerprints={} if old is None else {name: old["fingerprints"].get(name) == value for name, value in new["fingerprints"].items()},
    )


def _lineage(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    digests: tuple[str | None, str | None],
    ancestors: Collection[str],
    ancestors_of_old: Collection[str],
) -> Lineage:
    old_digest, new_digest = digests
    if old is None:
        return "first"
    if old_digest is not None and old_digest == new_digest:
        return "same"
    if old_digest is not None and old_digest in new["parents"]:
        return "child"
    if old_digest is not None and old_digest in ancestors:
        return "descendant"
    if new_digest is not None and (new_digest in old["parents"] or new_digest in ancestors_of_old):
        return "ancestor"
    return "unknown" if old_digest is None else "unrelated"


# --- numbers


def _at(manifest: Mapping[str, Any] | None, steps: Sequence[str]) -> Any:
    """A value of a manifest; None where it, or anything above it, is not there."""
    value: Any = manifest
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _numbers(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[Number]:
    for name, steps in NUMBERS.items():
        number = Number(name, _whole(_at(old, steps)), _whole(_at(new, steps)))
        if (number.old, number.new) != (None, None):
            yield number
    for kind in ("generations", "tombstones"):
        before, after = (_at(one, ("input", "history", kind)) for one in (old, new))
        if before is not None or after is not None:
            yield Number(f"history_{kind}", *(None if found is None else len(found) for found in (before, after)))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _breakdowns(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[Breakdown]:
    places = (
        ("source", "tokens", ("tokens", "by_source")),
        ("language", "tokens", ("tokens", "by_language")),
        ("language", "text_bytes", ("documents", "by_language")),
    )
    for kind, unit, steps in places:
        before, after = _at(old, steps), _at(new, steps)
        if before or after:
            yield _breakdown(kind, unit, before, after)
    lengths = (_lengths(_at(old, ("documents", "lengths"))), _lengths(_at(new, ("documents", "lengths"))))
    if any(lengths):
        found = _breakdown("length", "text_bytes", *lengths)
        yield Breakdown(found.kind, found.unit, tuple(sorted(found.lines, key=lambda line: int(line.name))), found.num_same)


def _lengths(classes: Any) -> dict[str, Mapping[str, int]] | None:
    """Classes of lengths by the fewest bytes that belong to each."""
    return None if classes is None else {str(one["from_bytes"]): one for one in classes}


def _breakdown(kind: str, unit: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Breakdown:
    """A name that one version does not have is 0 there; all are None where a version has no such counts at all."""
    names = {**(before or {}), **(after or {})}
    lines = [Named(name, *(_of_name(what, name, before, after) for what in ("documents", unit))) for name in names]
    changed = [line for line in lines if any((number.old or 0) != (number.new or 0) for number in (line.documents, line.amount))]
    changed.sort(key=lambda line: (-_size(line.amount), -_size(line.documents), line.name))
    return Breakdown(kind, unit, tuple(changed), 0 if before is None else len(lines) - len(changed))


def _of_name(what: str, name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Number:
    return Number(what, *(None if counts is None else counts.get(name, {}).get(what, 0) for counts in (before, after)))


def _size(number: Number) -> int:
    """How much differs."""
    return abs((number.new or 0) - (number.old or 0))


def _dropped(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[Lost]:
    before, after = ({} if one is None else _by_reason(one["ledger"]["dropped"]) for one in (old, new))
    yield from _lost(old, before, after)


def _by_reason(dropped: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], int]:
    return {(operator, reason): rows for operator, reasons in dropped.items() for reason, rows in reasons.items()}


def _quarantined(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[Lost]:
    before, after = (
        {} if one is None else {("", error): rows for error, rows in one["ledger"]["quarantined"].items()} for one in (old, new)
    )
    yield from _lost(old, before, after)


def _lost(old: Mapping[str, Any] | None, before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int]) -> Iterator[Lost]:
    nothing = None if old is None else 0
    lines = [Lost(*key, Number("rows", before.get(key, nothing), after.get(key, 0))) for key in {**before, **after}]
    yield from sorted((line for line in lines if line.rows.differs), key=lambda line: (-_size(line.rows), line.operator, line.reason))


# --- everything else


def _about(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the version says of itself; a run without a limit has none."""
    if manifest is None:
        return {}
    limit = manifest["input"].get("limit")
    return {"name": manifest["name"], "licence": manifest["licence"], **({} if limit is None else {"limit": limit})}


def _settings(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if manifest is None else settings_of(manifest["config"], IN_OTHER_PLACES)


def _columns(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    return {column["name"]: column["type"] if column["nullable"] else f"{column['type']}, never null" for column in manifest["schema"]}


def _learned(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Digests of what operators learned; in the path of a file the version is left out, since it always differs."""
    found = () if manifest is None else manifest.get("learned") or ()
    return {f"{one['operator']}: {one['path'].rpartition('/')[2]}": one["sha256"] for one in found}


def _packages(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if manifest is None else {"python": manifest["environment"]["python"], **manifest["environment"]["packages"]}


def _warnings_only_in(manifest: Mapping[str, Any], other: Mapping[str, Any] | None) -> list[str]:
    """Guards that were passed in one version alone, as sentences; that their numbers differ is no difference."""
    known = {_warned(one) for one in (other or {}).get("warnings") or ()}
    return sentences([one for one in manifest.get("warnings") or () if _warned(one) not in known])


def _warned(warning: Mapping[str, Any]) -> tuple[str, str, str]:
    return warning["operator"], warning["guard"], warning["subject"]
