"""A page that loads nothing: its head, its contents, what it says of itself to the browser, and the one stretch that holds documents.

Scripts are allowed by their hashes alone, and none of them holds anything of a run: what charts show stands in a JSON block, which no
browser executes, and in which `<` cannot occur. So a script that a document brought is no script here, even if it got into the page
unescaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final

from pipelines.legible import legible
from pipelines.report_charts import Chart
from pipelines.report_html import json_block
from pipelines.report_style import STYLE

ASSETS: Final = Path(__file__).parent / "report_assets"
SCRIPTS: Final = ("vega.min.js", "charts.js", "samples.js")
"""In the order in which they run; the first is somebody else's."""

BEGIN_DOCUMENTS: Final = "<!--documents-->"
END_DOCUMENTS: Final = "<!--/documents-->"
WITHOUT_DOCUMENTS: Final = (
    '<section id="samples" aria-labelledby="samples-title"><h2 id="samples-title">Documents to read</h2>'
    "<p>Texts of documents are not part of this copy of the report.</p></section>"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page.

    Attributes:
        lines: HTML of the section, which has the id `name`.
        title: In the page's contents; None: it is not listed.
    """

    name: str
    title: str | None
    lines: Sequence[str]


def page(*, kind: str, title: str, under: str, parts: Sequence[Part], charts: Sequence[Chart]) -> str:
    """The file: `kind` says what is reported, `under` is the HTML below the title. Parts without lines are left out."""
    shown = [part for part in parts if part.lines]
    scripts = tuple(script(name) for name in (SCRIPTS if charts else SCRIPTS[1:]))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src " + " ".join(found.source for found in scripts)
    # Joined once: somebody else's script is most of it.
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}; base-uri 'none'; form-action 'none'\">\n",
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{escape(legible(title))} · shardmill {kind}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#content">Skip to the content</a>\n',
            f'<header><p class="over">shardmill {kind}</p><h1><bdi>{escape(legible(title))}</bdi></h1>',
            f'<p class="quiet">{under}</p></header>\n',
            f'{_contents(shown)}\n<main id="content" tabindex="-1">\n',
            "\n".join(line for part in shown for line in part.lines),
            "\n</main>\n",
            _island(charts),
            *(piece for found in scripts for piece in ("<script>", found.text, "</script>\n")),
            "</body>\n</html>\n",
        )
    )


def documents(lines: Iterable[str]) -> list[str]:
    """Lines as the stretch that `without_documents` takes out; there is one in a page at most.

    Comments cannot come from a document, whose every `<` is escaped.
    """
    return [BEGIN_DOCUMENTS, *lines, END_DOCUMENTS]


def without_documents(text: str) -> str:
    """The same page without any document's text, for readers who may see the numbers alone; a page without texts comes back as it is."""
    return re.sub(f"{BEGIN_DOCUMENTS}.*?{END_DOCUMENTS}", lambda _: WITHOUT_DOCUMENTS, text, count=1, flags=re.DOTALL)


@dataclass(frozen=True, slots=True)
class Script:
    """A script of the page, and the source expression by which the content security policy lets it run."""

    text: str
    source: str


@lru_cache(maxsize=len(SCRIPTS))
def script(name: str) -> Script:
    """A script of `report_assets`."""
    content = (ASSETS / name).read_bytes()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Script(content.decode(), f"'sha256-{digest}'")


def _contents(parts: Iterable[Part]) -> str:
    links = "".join(f'<li><a href="#{part.name}">{part.title}</a></li>' for part in parts if part.title is not None)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _island(charts: Sequence[Chart]) -> str:
    """What the charts show, as data that is no markup wherever the page is read."""
    if not charts:
        return ""
    spoken = (
        '<p id="chart-keys" class="vh">Arrow keys go from mark to mark, Home and End to the first and last, Escape leaves the chart.</p>\n'
        '<p id="told" class="vh" aria-live="polite"></p>\n'
    )
    return f'{spoken}<script type="application/json" id="charts">{json_block({chart.name: chart.spec for chart in charts})}</script>\n'
