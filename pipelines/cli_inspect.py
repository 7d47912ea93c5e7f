"""The command `inspect`: documents of a version in the terminal. Owns its options, pages and JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.difference_versions import Opened
    from pipelines.inspect_text import Look
    from pipelines.inspection import Asked, Which

JSON_LIMIT = 20
"""Documents of the one object of `--json`, unless a limit is given."""
DEFAULT_CHARS = 2000
EVERY = ""
"""What an option is without a value."""


@click.command()
@click.argument("uri")
@click.option("--version", metavar="vN", help="A version; default: the current one.")
@click.option("--where", metavar="EXPR", help="Only where this holds: a condition as in filter_where, over any columns.")
@click.option("--id", "document_id", metavar="ID", help="The documents with this id or doc_key, whatever became of them.")
@click.option(
    "--dropped",
    is_flag=False,
    flag_value=EVERY,
    metavar="[OPERATOR[:REASON]]",
    help="Documents that were dropped, and for what; texts are read back from the input.",
)
@click.option(
    "--duplicates",
    is_flag=False,
    flag_value=EVERY,
    metavar="[OPERATOR]",
    help="Removed duplicates beside what was kept, with the differences marked.",
)
@click.option(
    "--quarantine",
    is_flag=False,
    flag_value=EVERY,
    metavar="[OPERATOR[:ERROR]]",
    help="Rows that could not be processed, and why.",
)
@click.option("--columns", metavar="A,B", help="Only these columns; the text is one of them.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="N documents spread over the whole version, instead of the first.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of the sample: another one gives other documents; default: 0.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"N documents at most; default: all; with --json the sample, or {JSON_LIMIT}.",
)
@click.option(
    "--chars",
    type=click.IntRange(min=0),
    default=DEFAULT_CHARS,
    metavar="N",
    help=f"Characters of a text that are shown, 0: all; default: {DEFAULT_CHARS:,}.",
)
@click.option("--width", type=click.IntRange(min=20), metavar="N", help="Fold lines at N cells; default: the terminal's width.")
@click.option("--pager/--no-pager", default=True, help="Page by page on a terminal; default: yes.")
@json_option
def inspect(
    uri: str,
    version: str | None,
    where: str | None,
    document_id: str | None,
    dropped: str | None,
    duplicates: str | None,
    quarantine: str | None,
    columns: str | None,
    sample: int | None,
    seed: int | None,
    limit: int | None,
    chars: int,
    width: int | None,
    pager: bool,
    as_json: bool,
) -> None:
    """Read documents of a finished version, page by page, with their signals.

    URI is an output, or a published dataset, `hf://datasets/ORG/NAME`. Shows what was kept, in order; --dropped, --duplicates and
    --quarantine show what was not. Only what is shown is read, so a version of any size begins at once.
    """
    from pipelines.difference_versions import open_version  # noqa: PLC0415
    from pipelines.inspect_documents import Request  # noqa: PLC0415
    from pipelines.inspection import ALL, Asked  # noqa: PLC0415
    from pipelines.verify_manifest import VERSION  # noqa: PLC0415

    if seed is not None and sample is None:
        raise ConfigError("--seed: it is that of a sample; say how many documents: --sample N")

    if version is not None and VERSION.fullmatch(version) is None:
        raise ConfigError(f"--version: found {version!r}, expected a version, as v1")
    which, by = _which(dropped, duplicates, quarantine)
    names = None if columns is None else tuple(name for each in columns.split(",") if (name := each.strip()))
    request = Request(where, document_id, names, sample, seed or 0)
    asked = Asked(which, request, by or ALL, (sample or JSON_LIMIT) if as_json and limit is None else limit)
    opened = open_version(uri, version)
    if as_json:
        _write_json(opened, asked, chars or None)
    else:
        _write_text(opened, asked, chars or None, width, pager=pager)


def _which(dropped: str | None, duplicates: str | None, quarantine: str | None) -> tuple[Which, str | None]:
    options: dict[Which, str | None] = {"dropped": dropped, "duplicates": duplicates, "quarantine": quarantine}
    given = [(name, value) for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name, _ in given)}: one of them at a time")
    return given[0] if given else ("kept", None)


def _write_json(opened: Opened, asked: Asked, chars: int | None) -> None:
    from pipelines.inspect_json import document_json  # noqa: PLC0415
    from pipelines.inspection import inspected  # noqa: PLC0415

    documents = [document_json(document, chars) for document in inspected(opened, asked)]
    write_json({"uri": opened.finished.store.uri, "version": opened.finished.version, "which": asked.which, "documents": documents})


def _write_text(opened: Opened, asked: Asked, chars: int | None, width: int | None, *, pager: bool) -> None:
    from pipelines.inspect_text import Look  # noqa: PLC0415
    from pipelines.pager import pager_command, shows_colour, write_pages  # noqa: PLC0415

    command = pager_command() if pager else None
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    write_pages(_pages(opened, asked, Look(width, shows_colour(command), chars)), command)


def _pages(opened: Opened, asked: Asked, look: Look) -> Iterator[str]:
    from pipelines.inspect_text import sentence, shown  # noqa: PLC0415
    from pipelines.inspection import heading, inspected  # noqa: PLC0415

    documents = inspected(opened, asked)  # before anything is written: what was asked may be wrong
    yield sentence(heading(opened, asked), look)
    number = 0
    for number, document in enumerate(documents, 1):
        yield shown(document, number, look)
    rest = "" if number == asked.limit else "; these are all"
    yield sentence("There is no such document." if number == 0 else f"{number:,} shown{rest}.", look)


COMMANDS: list[click.Command] = [inspect]
