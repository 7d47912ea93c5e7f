"""The pages of the documentation: their blocks, the commands in them, and what a page says of a block in a comment in front of it.

<!-- not run: REASON -->    the commands of the block below are only parsed: the program, command and options exist
<!-- exits with N -->       each command of the block below ends with this exit status
<!-- file: NAME -->         the block below is this file
<!-- add to: NAME -->       the block below is added to this file
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "configs" / "README.md",
    ROOT / "configs" / "clusters" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SHELLS = ("sh", "console")
PROGRAMS = ("shardmill", "python", "make")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)$")
MARK = re.compile(r"^ *<!-- (?P<key>not run|exits with|file|add to):? (?P<value>.+) -->$")
# Code within a line; a code block's own lines are taken out before.
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it begins, its language, its lines, and the marks in front of it."""

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, `|` and `&&` taken apart; none of a block in another language."""
        if self.language not in SHELLS:
            return []
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines() if self.language == "sh" else [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        return [words for line in lines for words in split(line)]


def split(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without comments."""
    words: list[str] = []
    for word in shlex.split(line, comments=True):
        if word in ("|", "&&", ";"):
            yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    return list(_parts(page)[0])


def spans(page: Path) -> list[tuple[int, str]]:
    """Commands within the lines of a page, with the number of the line: code that begins with one of our programs and says more."""
    first = re.compile(rf"(?:[A-Z][A-Z0-9_]*=\S+ )*(?:{'|'.join(PROGRAMS)}) ")
    return [(number, code) for number, line in _parts(page)[1] for code in SPAN.findall(line) if first.match(code)]


def stray(page: Path) -> list[str]:
    """Lines that look like commands outside of the blocks that are commands: nothing would see to it that they exist."""
    found, prose = _parts(page)
    command = re.compile(rf"^\s*(?:\$ )?(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)}) [-a-z]")
    outside = [f"{page.name}:{number}: {line}" for number, line in prose if line.startswith("    ") and command.match(line)]
    other = [block for block in found if block.language not in (*SHELLS, "yaml", "dockerfile")]
    return outside + [f"{block}: {line}" for block in other for line in block.text.splitlines() if command.match(line)]


def _parts(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """The blocks, and the lines outside of them with their numbers; a span of code that goes on in the next line is put together."""
    found: list[Block] = []
    prose: list[tuple[int, str]] = []
    marks: dict[str, str] = {}
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is not None and fence and not fence["language"]:
            text = "\n".join(each.removeprefix(opened[2]) for each in inside)
            found.append(Block(page, opened[0], opened[1], text + "\n", marks))
            opened, inside, marks = None, [], {}
        elif opened is not None:
            inside.append(line)
        elif fence:
            opened = (number, fence["language"], fence["indent"])
        elif mark := MARK.match(line):
            marks[mark["key"]] = mark["value"]
        else:
            if line.strip():
                marks = {}
            if prose and prose[-1][1].count("`") % 2 and line.strip():
                prose[-1] = (prose[-1][0], f"{prose[-1][1]} {line.strip()}")
            else:
                prose.append((number, line))
    return found, prose
