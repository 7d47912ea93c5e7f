"""What commands write to standard output: one JSON object, or tables for a person.

On a terminal a table is drawn by rich and folds to its width; into a pipe or file it is plain, one line a row.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

MAX_TEXT_WIDTH = 100
UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Beside what JSON escapes itself: C1 controls, invisible and directing characters, and halves of characters, which no file can hold."""


def write_json(data: Mapping[str, Any]) -> None:
    """Write one JSON object. Letters of every script stay; what could steer a terminal or turn the direction of writing is a code."""
    click.echo(UNSEEN.sub(_escaped, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def write_text(text: str) -> None:
    """Write paragraphs; on a terminal they are folded to its width."""
    if sys.stdout.isatty():
        width = min(shutil.get_terminal_size().columns, MAX_TEXT_WIDTH)
        text = click.wrap_text(text, width=width, preserve_paragraphs=True)
    click.echo(text)


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; with empty headers, without a head."""
    if sys.stdout.isatty():
        _write_rich(headers, rows)
        return
    lines = [headers, *rows] if any(headers) else list(rows)
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(headers))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _write_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headers), header_style="bold")
    for position, header in enumerate(headers):
        # The first column holds names, which are typed again: it is not folded while another one can give way.
        table.add_column(header, no_wrap=position == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
