"""The command `diff`: what differs between two versions. Owns what it prints."""

from __future__ import annotations

import sys

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--documents/--no-documents", default=True, help="Which documents came and went, from the side tables; default: yes.")
@click.option("--examples", type=click.IntRange(0, 1000), default=5, metavar="N", help="Name up to N documents of each kind; default: 5.")
@json_option
def diff(a: str, b: str | None, documents: bool, examples: int, as_json: bool) -> None:
    """Compare two versions: A, the old one, with B, the new one.

    Each is the address of an output, which means its current version, or with `@v1` behind it that version of it; so
    `shardmill diff OUT@v1 OUT`. With A alone, that version is compared with the one before it.

    Shows sizes, tokens by source and language, operators and every setting that differs, what was dropped and why, and which documents
    came and went. The exit status is 0 whether or not they differ.
    """
    from rich.console import Console  # noqa: PLC0415

    from pipelines.difference import compare  # noqa: PLC0415
    from pipelines.difference_document_sections import document_sections  # noqa: PLC0415
    from pipelines.difference_documents import compare_documents  # noqa: PLC0415
    from pipelines.difference_lineage import whole  # noqa: PLC0415
    from pipelines.difference_text import render_difference  # noqa: PLC0415
    from pipelines.difference_versions import ancestors_of, open_version, parent_of  # noqa: PLC0415

    first = open_version(a)
    old, new = (parent_of(first), first) if b is None else (first, open_version(b))
    if old is None:
        found = compare(None, whole(new.finished.store, new.manifest), new_digest=new.digest)
    else:
        found = compare(
            *(whole(one.finished.store, one.manifest) for one in (old, new)),
            old_digest=old.digest,
            new_digest=new.digest,
            ancestors=ancestors_of(new, old.digest),
            ancestors_of_old=ancestors_of(old, new.digest),
        )
    told = compare_documents(old.finished, new.finished, examples) if documents and old is not None else None
    if as_json:
        write_json({**found.to_json(), "documents": None if told is None else told.to_json()})
        return
    render_difference(found, Console(file=sys.stdout, soft_wrap=False), () if told is None else document_sections(told))


COMMANDS: list[click.Command] = [diff]
