"""The lines of a crontab that do the ticks of a schedule by `shardmill schedule FILE --once`.

Owns what cron makes of a line: `%` is a line break unless escaped, there is no shell's environment, no working directory, and the times go
by the machine's zone, unless it is a cron that knows CRON_TZ (cronie does; Debian's own cron, and macOS's, do not).
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipelines.errors import ConfigError, shown
from pipelines.ticks import Schedule

OFTEN: Final = "*/5 * * * *"
"""Where cron goes by another zone: often enough, since `--once` does nothing unless a tick is due."""
LARGEST: Final = (59, 23, 31, 12, 7)


def crontab(schedule: Schedule, file: Path, overrides: Sequence[str], folder: Path) -> list[str]:
    """The lines, with comments, to be put at the end of a crontab.

    Args:
        schedule: When.
        file: The pipeline's file, absolute.
        overrides: `--set` of the command.
        folder: The working directory, to which relative paths of the pipeline belong; absolute.

    Raises:
        ConfigError: A path or a setting has a line break, which no line of a crontab can hold.
    """
    log = file.with_suffix(".schedule.log")
    words = [*executable(), "schedule", str(file), "--once", *(word for one in overrides for word in ("--set", one))]
    command = f"cd {_quoted(str(folder))} && {' '.join(_quoted(word) for word in words)} >> {_quoted(str(log))} 2>&1"
    return [
        f"# shardmill: the ticks of {file.name}. CRON_TZ is for all lines below it, and only a cron like cronie knows it.",
        f"CRON_TZ={schedule.timezone}",
        f"{portable(schedule.cron)} {command}",
        f"# Debian's cron goes by the machine's time zone. Unless that is {schedule.timezone}, use this instead; it does what is due:",
        f"# {OFTEN} {command}",
    ]


def executable() -> list[str]:
    """How this very command is called from anywhere."""
    beside = Path(sys.executable).with_name("shardmill")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "pipelines.cli"]


def portable(cron: str) -> str:
    """The line as every cron takes it: `5/15` is not known to all, `5-59/15` is."""
    fields = [re.sub(r"(?<![0-9-])([0-9]+)/", rf"\g<1>-{most}/", field) for field, most in zip(cron.split(), LARGEST, strict=True)]
    return " ".join(fields)


def _quoted(word: str) -> str:
    """A word for the shell, in a line of a crontab."""
    if "\n" in word or "\r" in word:
        raise ConfigError(f"--crontab: {shown(word)!r} has a line break, which a crontab cannot hold; use another path or setting")
    return shlex.quote(word).replace("%", r"\%")
