"""The command `runbook`: what to do when something goes wrong, on the terminal of whoever has only the command."""

from __future__ import annotations

import click


@click.command()
@click.argument("entry", required=False)
def runbook(entry: str | None) -> None:
    """Say what to do when something goes wrong: an entry of the runbook, or the list of them."""
    from pipelines.runbook import entries  # noqa: PLC0415
    from pipelines.runbook import entry as text_of  # noqa: PLC0415

    if entry is not None:
        click.echo(text_of(entry))
        return
    width = max(map(len, entries()))
    for name, text in entries().items():
        click.echo(f"{name:<{width}}  {text.splitlines()[0].removeprefix('## ')}")


COMMANDS: list[click.Command] = [runbook]
