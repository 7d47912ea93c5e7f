"""Commands of the contract that this build does not have: each says so in one line, and what to do instead.

A command leaves this table when it arrives.
"""

from __future__ import annotations

import click

from pipelines.errors import NotYet

INSTEAD = {
    "inspect": "read documents with `pipelines.open_dataset(URI)` or `datasets.load_dataset(URI)`",
}


def _later(name: str, instead: str) -> click.Command:
    @click.command(
        name,
        short_help="(not yet in this build)",
        help=f"Not yet in this build. Instead: {instead}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:  # noqa: ARG001
        raise NotYet(f"{name}: not yet in this build; instead: {instead}")

    return command


COMMANDS = [_later(name, instead) for name, instead in INSTEAD.items()]
