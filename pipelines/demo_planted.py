"""What the demo adds to the real text, so that every operator of the quickstart has something to find.

Owns the multilingual paragraphs that were written for the project, the exact copies and the junk. Everything follows from the real
documents and a fixed seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import resources
from itertools import combinations, groupby

from pipelines.demo_documents import Document

MIRROR, JUNK, PARAGRAPHS = "mirror", "junk", "paragraphs"
MIRRORED_SHARE = 0.05
JUNK_SHARE = 0.06

_LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua."
_MENU = (
    "Home",
    "About us",
    "Products",
    "Log in",
    "Contact",
    "Terms of use",
    "Privacy policy",
    "Cookie settings",
    "Share this page",
    "Next »",
)
_SHORT = ("404 Not Found", "Loading…", "Click here to continue.", "This page was left blank on purpose.", "-", "Please enable JavaScript.")
_SYMBOLS = "#*=~|/\\-+<>_^%$&"


def paragraphs() -> list[Document]:
    """The project's own paragraphs, some 30 languages, as documents of one, two and three paragraphs of one language."""
    stored = resources.files("pipelines").joinpath("demo_paragraphs.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in stored.splitlines()]
    documents = []
    for lang, group in groupby(rows, key=lambda row: str(row["lang"])):
        texts = [str(row["text"]) for row in group]
        chosen = [some for count in range(1, len(texts) + 1) for some in combinations(texts, count)]
        documents += [
            Document("\n\n".join(some), f"https://demo.invalid/{lang}/{number}", lang, PARAGRAPHS, "Apache-2.0")
            for number, some in enumerate(chosen)
        ]
    return documents


def mirrored(documents: Sequence[Document], rng: random.Random) -> list[Document]:
    """Exact copies of some documents at another address, as mirrors of a site are."""
    chosen = rng.sample(documents, round(len(documents) * MIRRORED_SHARE))
    return [replace(document, url=f"https://mirror.invalid/{number}", source=MIRROR) for number, document in enumerate(chosen)]


def junk(documents: Sequence[Document], rng: random.Random) -> Iterator[Document]:
    """Yield what a crawl is full of: repeated lines, menus, symbols, placeholder text and pages that say nothing."""
    kinds: Sequence[Callable[[str, random.Random], str]] = (_repeated, _menu, _symbols, _placeholder, _too_short)
    chosen = rng.sample(documents, round(len(documents) * JUNK_SHARE))
    for number, document in enumerate(chosen):
        kind = kinds[number % len(kinds)]
        text = kind(document.text, rng)
        yield Document(text, f"https://junk.invalid/{kind.__name__.strip('_')}/{number}", None, JUNK, document.licence)


def _repeated(text: str, rng: random.Random) -> str:
    line = max(text.split("\n"), key=len)[:400]
    return "\n".join([line] * rng.randrange(5, 20))


def _menu(text: str, rng: random.Random) -> str:
    lines = list(_MENU) * 3
    rng.shuffle(lines)
    return "\n".join([text[:80].split("\n", maxsplit=1)[0], *lines])


def _symbols(_text: str, rng: random.Random) -> str:
    return "\n".join("".join(rng.choices(_SYMBOLS, k=rng.randrange(20, 70))) for _ in range(rng.randrange(5, 15)))


def _placeholder(text: str, rng: random.Random) -> str:
    """Real text with the filler of an unfinished page in it: the filters must see past the part that is good."""
    parts = text[:2_000].split("\n\n")
    parts.insert(rng.randrange(len(parts) + 1), _LOREM)
    return "\n\n".join(parts)


def _too_short(_text: str, rng: random.Random) -> str:
    return rng.choice(_SHORT)
