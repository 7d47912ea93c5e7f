"""What a command of the documentation must be: a program, a command and options that exist; and how it is run in a test."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from docs_pages import ROOT

from pipelines import demo
from pipelines.cli import cli, main

OPTION = re.compile(r'"(--[a-z0-9-]+)"')
OTHERS = {"cat", "cd", "cp", "export", "head", "kubectl", "ls", "mkdir", "pip", "ray", "rm", "source"}
"""Programs that are not ours: what they are given is not looked at."""
SHARED_PROGRAMS = {"make_bench.py"}
"""Programs of the shared folder's test data, which a checkout may lack."""
FOLDERS = ("benchmarks/", "cluster/", "configs/", "docs/", "operators/", "pipelines/", "tests/")
"""Of the checkout: what a command names in them is there."""
DEMO_PACKAGES = ["click", "packaging"]
ENVIRONMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)", re.DOTALL)


class NoSuchCommandError(AssertionError):
    """A command of the documentation that cannot be given."""


def check(words: Sequence[str], *, whole: bool = True) -> None:
    """See that a command exists, with its options and as many words as it takes.

    Args:
        words: The command.
        whole: False for code within a sentence: it may leave words out, and have placeholders for numbers.

    Raises:
        NoSuchCommandError: It does not.
    """
    words = [*without_environment(words)[1]]
    if not words:
        return
    for word in words:
        _require(not word.startswith(FOLDERS) or any(ROOT.glob(word.partition("::")[0])), f"{' '.join(words)}: there is no {word}")
    program, *arguments = words
    match Path(program).name:
        case "shardmill":
            _check_shardmill(arguments, whole=whole)
        case "python":
            _check_python(arguments)
        case "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            _require(set(arguments) <= {*targets} or "=" in arguments[-1], f"make {' '.join(arguments)}: the Makefile has no such target")
        case other:
            _require(other in OTHERS, f"{other}: no program that the documentation may name; see docs_commands.OTHERS")


def without_environment(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The variables in front of a command, and the command."""
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        variable = ENVIRONMENT.fullmatch(word)
        if variable is None:
            return found, [*words[place:]]
        found[variable["name"]] = variable["value"]
    return found, []


def _check_shardmill(arguments: Sequence[str], *, whole: bool) -> None:
    plain = [word.strip("[]").rstrip(".") if not whole else word for word in arguments]
    plain = [word.partition("|")[0] for word in plain if word and word not in ("OPTIONS", "…")]
    name, *rest = plain
    command = cli.commands.get(name)
    if name.startswith("-"):
        return
    _require(command is not None, f"shardmill {name}: there is no such command")
    try:
        command.make_context(name, [*rest], resilient_parsing=False).close()
    except click.exceptions.Exit:
        return  # --help
    except click.NoSuchOption as error:
        raise NoSuchCommandError(f"shardmill {' '.join(arguments)}: {error.format_message()}") from error
    except click.UsageError as error:
        told = error.format_message()
        if "does not exist" not in told and (whole or "unexpected extra argument" in told):
            raise NoSuchCommandError(f"shardmill {' '.join(arguments)}: {error.format_message()}") from error


def _check_python(arguments: Sequence[str]) -> None:
    match [*arguments]:
        case ["-c", code, *_]:
            ast.parse(code)
        case ["-m", module, *rest]:
            found = importlib.util.find_spec(module)
            _require(found is not None and found.origin is not None, f"python -m {module}: there is no such module")
            _check_options(Path(found.origin), rest, name=module)
        case [file, *rest]:
            if file in SHARED_PROGRAMS:
                return
            _require((ROOT / file).is_file(), f"python {file}: there is no such file")
            _check_options(ROOT / file, rest, name=file)


def _check_options(source: Path, arguments: Sequence[str], *, name: str) -> None:
    """Options of a program that reads its arguments by argparse stand in its source as they are written."""
    if name == "pytest":
        return
    text = source.read_text(encoding="utf-8")
    known = {*OPTION.findall(text)} | {"--help"}
    shared = ROOT / "benchmarks"
    if source.parent == shared:
        known |= {option for file in shared.glob("*.py") for option in OPTION.findall(file.read_text()) if file.stem in text}
    unknown = [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in known]
    _require(not unknown, f"{name}: there is no option {' '.join(unknown)}")


def run(words: Sequence[str], patch: pytest.MonkeyPatch) -> int:
    """Run a command in this folder and return its exit status; `shardmill` in this process."""
    variables, words = without_environment(words)
    for name, value in variables.items():
        patch.setenv(name, value)
    program, *arguments = words
    if program == "export":
        return run(arguments, patch)
    if program == "shardmill":
        return main(arguments)
    if program == "python" and arguments[:2] == ["-m", "pipelines.demo"]:
        # The real one reads every package that is installed, which takes half a minute.
        with patch.context() as small:
            small.setattr(demo, "collect", lambda _: _collect(DEMO_PACKAGES))
            return demo.main(arguments[2:])
    command = [sys.executable if program == "python" else program, *arguments]
    return subprocess.run(command, check=False, timeout=300).returncode


_collect = demo.collect


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise NoSuchCommandError(message)
