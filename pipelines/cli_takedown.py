"""The command `takedown`: documents out of an output, and what it says of them.

Owns what it prints. Every list in it is bounded; `--json` tells more of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json
from pipelines.cli_signals import terminable
from pipelines.errors import ConfigError
from pipelines.legible import counted, legible

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.takedown import Takedown
    from pipelines.takedown_kin import Kin
    from pipelines.takedown_matches import Matches

MAX_LINES: Final = 20
MAX_TOLD: Final = 1000
MAX_KEYS: Final = 20
MAX_REASON_CHARS: Final = 500
MAX_CHARS: Final = 200


@click.command()
@click.argument("uri")
@click.option(
    "--ids",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Ids of the documents, or doc_keys of 32 hexadecimal digits, one a line; or .jsonl, .csv, .parquet.",
)
@click.option("--reason", metavar="TEXT", help="Why; it is published with the version.")
@click.option("--purge", "purge_versions", is_flag=True, help="Then remove all older versions, which still hold the documents.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@json_option
def takedown(uri: str, file: Path | None, reason: str | None, purge_versions: bool, dry_run: bool, as_json: bool) -> None:
    """Make a new version of an output without some documents, which no later run brings back.

    Every document that has one of the ids goes. What was dropped or quarantined already keeps its place in those tables, without its text.
    """
    from pipelines.takedown import takedown as take_down  # noqa: PLC0415
    from pipelines.takedown_ids import read_wanted  # noqa: PLC0415

    if file is None and not purge_versions:
        raise ConfigError("takedown: which documents? give a file of ids with --ids FILE, or --purge to remove older versions only")
    if file is None and reason is not None:
        raise ConfigError("takedown: --reason is of documents that are taken out; give them with --ids FILE")
    if reason is not None and not 0 < len(reason.strip()) <= MAX_REASON_CHARS:
        raise ConfigError(f"takedown: --reason has {len(reason)} characters; expected 1 to {MAX_REASON_CHARS}")
    wanted = None if file is None else read_wanted(file)
    with terminable():
        done = take_down(uri, wanted, reason=reason, purge_versions=purge_versions, dry_run=dry_run)
    if as_json:
        write_json(to_json(done))
    else:
        click.echo("\n".join(lines(done)))


COMMANDS: list[click.Command] = [takedown]


# --- as JSON


def to_json(done: Takedown) -> dict[str, Any]:
    """What a takedown did, or would do, as one object; lists have at most `MAX_TOLD` entries, and the counts beside them all."""
    told: dict[str, Any] = {
        "uri": done.uri,
        "parent": done.base,
        "version": done.version,
        "is_new": done.is_new,
        "dry_run": done.is_dry,
        "versions_that_hold_documents": list(done.holding),
        "purged": None,
    }
    if done.purged is not None:
        told["purged"] = {"versions": list(done.purged.versions), "objects": done.purged.objects, "bytes": done.purged.bytes}
    if done.matches is not None:
        told |= _matches(done.matches) | {"unread_inputs": done.unread}
        told |= _kin("orphaned", done.orphans) | _kin("kept_instead", done.instead)
    return told


def _matches(matches: Matches) -> dict[str, Any]:
    shards = matches.base.shards
    going = matches.by_shard()
    sizes = shards.column("bytes").to_numpy()
    return {
        "ids": len(matches.wanted),
        "documents": len(matches.found),
        "already_out": matches.lost.num_rows,
        "matches": list(_by_name(matches)),
        "unmatched": matches.unmatched[:MAX_TOLD],
        "num_unmatched": len(matches.unmatched),
        "lost": [_lost(row) for row in matches.lost.slice(0, MAX_TOLD).to_pylist()],
        "shards": {
            "touched": len(going),
            "of": shards.num_rows,
            "bytes": int(sum(sizes[shard] for shard in going)),
        },
        "rows_blanked": sum(map(len, matches.blanks.values())),
    }


def _by_name(matches: Matches) -> Iterator[dict[str, Any]]:
    """The names that name something, with the doc_keys of their documents in the shards."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    some = np.flatnonzero((matches.counts > 0) | (matches.lost_counts > 0))[:MAX_TOLD]
    order = np.argsort(matches.found.names, kind="stable")
    names = matches.found.names[order]
    for name in some.tolist():
        first = int(np.searchsorted(names, name))
        keys = matches.keys.take(pa.array(order[first : first + min(int(matches.counts[name]), MAX_KEYS)]))
        yield {
            "id": matches.wanted.names[name].as_py(),
            "documents": int(matches.counts[name]),
            "already_out": int(matches.lost_counts[name]),
            "doc_keys": [key.hex() for key in keys.to_pylist()],
        }


def _lost(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("id", "uri", "row", "table", "operator", "reason")}
    return {"doc_key": row["doc_key"].hex(), **kept}


def _kin(name: str, kin: Kin | None) -> dict[str, Any]:
    return {} if kin is None else {name: [_copy(row) for row in _rows(kin.told)], f"num_{name}": len(kin.keys)}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _copy(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "doc_key": row["doc_key"].hex(), "kept_doc_key": row["kept_doc_key"].hex()}


# --- for a person


def lines(done: Takedown) -> Iterator[str]:
    """What a takedown did, or would do, in words."""
    if done.matches is not None:
        yield from _documents(done, done.matches)
    if done.purged is not None:
        size = f"{counted(done.purged.objects, 'object')}, {done.purged.bytes / 1e6:,.1f} MB"
        gone = f" of {', '.join(done.purged.versions)}" if done.purged.versions else ""
        yield f"Purged all{gone} but the manifests, and every intermediate: {size}."
    elif not done.holding and done.is_dry:
        yield f"{done.uri}: no version but {done.base} holds documents; --purge would remove intermediates at most."
    elif done.holding:
        would = "would still hold" if done.is_dry else "still holds" if len(done.holding) == 1 else "still hold"
        yield f"{', '.join(done.holding)} {would} documents; `shardmill takedown {done.uri} --purge` removes all but the current version."
    if done.matches is not None:
        yield (
            "What was published holds them until `shardmill publish` moves it on, and in its older tags and commits until you remove those "
            "there; so does every other copy."
        )


def _documents(done: Takedown, matches: Matches) -> Iterator[str]:
    going, touched = matches.by_shard(), matches.base.shards.column("bytes").to_numpy()
    size = sum(int(touched[shard]) for shard in going)
    shards = f"{len(going):,} of {counted(matches.base.shards.num_rows, 'shard')} ({size / 1e6:,.1f} MB)"
    documents = f"{counted(len(matches.found), 'document')} for {counted(len(matches.wanted), 'id')}"
    if done.is_dry:
        yield f"{done.uri}: {done.base} holds {documents}, in {shards}; nothing was written."
    elif done.is_new:
        yield f"{done.uri}: {done.version} is {done.base} without {documents}; {shards} written anew."
    else:
        yield f"{done.uri}: {done.version} has none of these documents already; there is nothing to do."
    yield from _bounded("has no document here", [(name,) for name in matches.unmatched], len(matches.unmatched))
    several = [(entry["id"], f"{entry['documents']:,} documents") for entry in _by_name(matches) if entry["documents"] > 1]
    yield from _bounded("is the id of several documents, and all of them go", several, len(several))
    yield from _bounded(
        "is out of the data already",
        [(row["id"], f"{row['operator']}: {row['reason']}") for row in matches.lost.slice(0, MAX_LINES).to_pylist()],
        matches.lost.num_rows,
    )
    yield from _copies("was removed as a copy of one that goes; a copy that is not exact may come back with a later run", done.orphans)
    yield from _copies("was removed as a copy of one that stays: name that one, too, if its text has to go", done.instead)
    if done.unread:
        known = "a copy of them is known again by their text as it was here alone"
        yield f"The input of {counted(done.unread, 'document')} can no longer be read: {known}."


def _copies(what: str, kin: Kin | None) -> Iterator[str]:
    if kin is not None:
        yield from _bounded(what, [(row["id"], f"of {row['kept_id']}") for row in _rows(kin.told.slice(0, MAX_LINES))], len(kin.keys))


def _bounded(what: str, rows: Sequence[tuple[str, ...]], number: int) -> Iterator[str]:
    """A line for each, and one for the rest."""
    for row in rows[:MAX_LINES]:
        more = f" ({', '.join(legible(text, MAX_CHARS) for text in row[1:])})" if len(row) > 1 else ""
        yield f"  '{legible(row[0], MAX_CHARS)}' {what}{more}"
    if number > MAX_LINES:
        yield f"  and {number - MAX_LINES:,} more, which --json lists as far as {MAX_TOLD:,}"
