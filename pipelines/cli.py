"""The command `shardmill`: its options, its commands, and the one place where an error becomes a message and an exit status.

Owns what is common to all commands. Each family of commands has its own module; heavy modules are imported inside the commands, so that
`shardmill --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from pipelines.cli_authoring import COMMANDS as AUTHORING
from pipelines.cli_classifier import COMMANDS as TRAINING
from pipelines.cli_difference import COMMANDS as COMPARING
from pipelines.cli_dryrun import COMMANDS as TRYING
from pipelines.cli_history import COMMANDS as HISTORY
from pipelines.cli_ingest import COMMANDS as INGESTING
from pipelines.cli_later import COMMANDS as LATER
from pipelines.cli_publish import COMMANDS as PUBLISHING
from pipelines.cli_run import COMMANDS as RUNNING
from pipelines.cli_runbook import COMMANDS as HELPING
from pipelines.cli_schedule import COMMANDS as SCHEDULING
from pipelines.cli_submit import COMMANDS as SUBMITTING
from pipelines.cli_takedown import COMMANDS as TAKING_OUT
from pipelines.errors import ConfigError, ShardmillError, shown
from pipelines.machine import is_of_machine
from pipelines.redaction import redact_environment, redact_uri
from pipelines.runbook import entry_for, pointer
from pipelines.supervised import exit_status
from pipelines.waits import told_to

INTERRUPTED = 130


@dataclass(slots=True)
class Session:
    """What holds for the whole command."""

    debug: bool = False


def _debug_option() -> click.Option:
    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        session = context.find_object(Session)
        if value and session is not None:
            session.debug = True

    return click.Option(["--debug"], is_flag=True, expose_value=False, callback=note, help="Show the traceback of an error.")


class _Commands(click.Group):
    """Commands in the order in which they are needed; each takes `--debug`, too."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of registration."""
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Register a command."""
        cmd.params.append(_debug_option())
        super().add_command(cmd, name)


@click.group(
    cls=_Commands,
    params=[_debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 failed, 2 usage or configuration, 3 nothing new (ingest), 4 a check failed, 130 interrupted.",
)
@click.version_option(package_name="shardmill", message="shardmill %(version)s")
def cli() -> None:
    """Turn raw, sharded documents into clean, deduplicated, tokenized datasets that anyone can check."""


for _command in (
    *AUTHORING,
    *TRAINING,
    *TRYING,
    *RUNNING,
    *INGESTING,
    *SCHEDULING,
    *SUBMITTING,
    *COMPARING,
    *HISTORY,
    *PUBLISHING,
    *TAKING_OUT,
    *HELPING,
    *LATER,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; whatever goes wrong ends here, as one message on standard error."""
    session = Session()
    try:
        with told_to(lambda waiting: click.echo(waiting, err=True)):
            status = cli.main(
                args=None if arguments is None else list(arguments), prog_name="shardmill", obj=session, standalone_mode=False
            )
        sys.stdout.flush()
    except click.Abort:
        click.echo("shardmill: interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ShardmillError as error:
        return exit_status(error, _failed(error, error.exit_status, session))
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except Exception as error:  # noqa: BLE001  the command's edge: a bug of ours, said in one line
        return exit_status(error, _failed(error, 1, session))
    return status if isinstance(status, int) else 0


def _failed(error: Exception, status: int, session: Session) -> int:
    if session.debug:
        # What a client says of itself, below our errors, may name signed addresses.
        click.echo(redact_environment(redact_uri("".join(traceback.format_exception(error)))), nl=False, err=True)
    entry = entry_for(error)
    leads = "" if entry is None else f"; {pointer(entry)}"
    click.echo(f"{_message(error, session)}{leads}", err=True)
    return status


def _message(error: Exception, session: Session) -> str:
    if isinstance(error, ConfigError):
        return redact_uri(error.message)  # each line begins with file:line, which editors and terminals can follow
    if isinstance(error, ShardmillError):
        return f"shardmill: {redact_uri(error.message)}"
    told = f"{type(error).__name__}: {shown(redact_uri(str(error)))}"
    if is_of_machine(error):
        return f"shardmill: no space, memory or file handle was left: {told}"
    hint = "" if session.debug else "; this is a bug in shardmill: run again with --debug and report the traceback"
    return f"shardmill: {told}{hint}"


def _silence_stdout() -> None:
    """Keep the interpreter from complaining, when it exits, about a reader that is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
