"""Takedowns in processes that may be killed. Imports nothing that reads the environment: each child sets its own first."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines_made import READS_ENVIRONMENT, Child, server


def start(folder: Path, names: Sequence[str] | None, fault: str = "", **options: Any) -> Child:
    """Start a takedown in a process of its own; `fault` as in SHARDMILL_FAULT."""
    number = len(list(folder.glob("answer-*")))
    answer, trace = folder / f"answer-{number}.json", folder / f"trace-{number}.txt"
    answer.touch()
    environment = {"SHARDMILL_FAULT": fault} if fault else {}
    words = (str(folder / "out"), None if names is None else list(names), options, environment, str(answer))
    process = server().Process(target=_run, args=words, daemon=False)
    process.start()
    return Child(process, answer, trace)


def _run(uri: str, names: list[str] | None, options: dict[str, Any], environment: dict[str, str], answer: str) -> None:
    assert not [name for name in READS_ENVIRONMENT if name in sys.modules]
    os.environ.update(environment)
    os.fsync = lambda _descriptor: None
    from pipelines.errors import ShardmillError
    from pipelines.takedown import takedown
    from pipelines.takedown_ids import wanted_of

    status, said = 0, {}
    try:
        done = takedown(uri, None if names is None else wanted_of(names), **options)
        said = {"version": done.version, "is_new": done.is_new}
    except ShardmillError as error:
        status, said = error.exit_status, {"error": type(error).__name__, "message": error.message}
    except BaseException as error:  # noqa: BLE001  the edge of the process
        status, said = 70, {"error": type(error).__name__, "message": traceback.format_exc()}
    Path(answer).write_text(json.dumps(said))
    sys.exit(status)
