"""The command `history`: what runs left for each other, and striking documents from it.

Owns what it prints and the file of doc_keys; what a history is, is history.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json, write_table
from pipelines.errors import ConfigError, NotFound, shown

if TYPE_CHECKING:
    from pipelines.storage import Store

DOC_KEY: Final = re.compile(r"[0-9a-fA-F]{32}")
MAX_PROBLEMS: Final = 20
HEADERS: Final = ("number", "run", "pipeline", "version", "files", "documents", "kept", "output")


@click.command()
@click.argument("uri")
@click.option(
    "--strike",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Strike documents: one doc_key of 32 hexadecimal digits a line, `#` begins a comment.",
)
@json_option
def history(uri: str, file: Path | None, as_json: bool) -> None:
    """List what runs left in a history, or strike documents from it.

    Later runs remove nothing for a document that is struck. What was removed for it before stays removed; a run over the same files,
    started again, finds it. Striking is never undone, and a second file adds to the first. Lines and paragraphs are only counted: a
    struck document's cannot be taken out, so line_dedup and paragraph_dedup still cut what it had.
    """
    from pipelines.history import describe  # noqa: PLC0415
    from pipelines.storage import open_store  # noqa: PLC0415

    keys = None if file is None else read_keys(file)
    store = open_store(uri)
    generations = describe(store)
    if not generations:
        raise NotFound(f"{uri}: there is no generation; a run with `history: {uri}` leaves one when it is done")
    if keys is None:
        _list(store, generations, as_json=as_json)
    else:
        _strike(store, keys, as_json=as_json)


def read_keys(file: Path) -> list[bytes]:
    """The doc_keys of a file.

    Raises:
        ConfigError: A line is none; names it.
    """
    keys: list[bytes] = []
    problems: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        words = line.partition("#")[0].strip()
        if DOC_KEY.fullmatch(words):
            keys.append(bytes.fromhex(words))
        elif words:
            problems.append(f"{file}:{number}: {shown(words)!r} is no doc_key; expected 32 hexadecimal digits, one key a line")
    if problems:
        raise ConfigError("\n".join([*problems[:MAX_PROBLEMS], *_more(problems)]))
    if not keys:
        raise ConfigError(f"{file}:1: there is no doc_key in it; expected 32 hexadecimal digits, one key a line")
    return keys


def _more(problems: Sequence[str]) -> Iterator[str]:
    if len(problems) > MAX_PROBLEMS:
        yield f"{problems[-1].partition(': ')[0]}: this and {len(problems) - MAX_PROBLEMS - 1} more lines are none either"


def _list(store: Store, generations: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    from pipelines.history import tombstones_of  # noqa: PLC0415
    from pipelines.recall import struck_keys  # noqa: PLC0415

    struck = len(struck_keys(store, tombstones_of(store)))
    if as_json:
        write_json({"uri": store.uri, "generations": list(generations), "struck": struck})
        return
    write_table(HEADERS, [_row(one) for one in generations])
    if struck:
        click.echo(f"{struck:,} documents are struck.")


def _row(one: Mapping[str, Any]) -> list[str]:
    kept = [
        operator["name"] if operator["documents"] is None else f"{operator['name']} {operator['documents']:,}"
        for operator in one["operators"]
    ]
    return [
        str(one["number"]),
        one["run_id"],
        one["name"],
        one["version"],
        f"{one['num_files']:,}",
        f"{one['rows']:,}",
        ", ".join(kept),
        one["output"],
    ]


def _strike(store: Store, keys: Sequence[bytes], *, as_json: bool) -> None:
    from pipelines.history_adding import are_known, strike  # noqa: PLC0415

    distinct = sorted(set(keys))
    unknown = int((~are_known(store, distinct)).sum())
    path = strike(store, distinct)
    if as_json:
        write_json({"uri": store.uri, "tombstones": path, "struck": len(distinct), "unknown": unknown})
        return
    click.echo(f"Struck {len(distinct):,} documents: {store.locate(path)}.")
    if unknown:
        click.echo(f"{unknown:,} of them are of no file that a generation has; nothing was removed for these.")


COMMANDS: list[click.Command] = [history]
