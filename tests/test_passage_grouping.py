"""Lines and paragraphs cut out of documents by whole runs: the texts are those that plain Python leaves, whatever path the work takes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpora import TINY, Document, Output, config_of, differences, files_of, finished, write_jsonl, write_parquet

from pipelines.exchange import Limits

pytestmark = pytest.mark.usefixtures("no_fsync")

WORDS = (
    "stone",
    "river",
    "cloud",
    "bread",
    "Wörter",
    "文字",
    "tree",
    "song",
    "light",
    "glass",
    "road",
    "house",
    "field",
    "table",
    "winter",
)
MENU = ("Home | About us | Contact", "All rights reserved by the owners", "Share  this page with  your friends", "Read more about cookies")
MIN_CHARS = 12
ROUNDS = Limits(task_bytes=400, range_bytes=200, task_units=3)
"""Bounds under which the occurrences of one passage are more than a task holds, so that they are counted and judged in rounds."""
BREAK = {"line_dedup": "\n", "paragraph_dedup": "\n\n"}


def corpus_of(folder: Path, kind: str) -> list[Document]:
    """Documents in three files whose passages many others have, in other white space too; some hold nothing else. In the input's order."""
    draw = random.Random(kind)
    made = []
    for number in range(150):
        own = [" ".join(draw.choice(WORDS) for _ in range(8)) for _ in range(draw.choice((0, 1, 2, 3)))]
        menu = [draw.choice(MENU) for _ in range(draw.choice((0, 1, 1, 2)))]
        menu = [f"  {text.replace(' ', '  ')}" if draw.random() < 0.2 else text for text in menu]
        passages = [*own, *menu, *(["short"] if draw.random() < 0.2 else [])]
        draw.shuffle(passages)
        made.append(
            {
                "id": f"d{number}",
                "text": BREAK[kind].join(passages),
                "url": draw.choice([None, f"https://www.site{number % 4}.example/{number}"]),
                "score": 1.0,
                "lang": draw.choice(["en", "de", None]),
            }
        )
    write_parquet(folder / "a.parquet", made[:60], group_rows=13)
    write_jsonl(folder / "b.jsonl", made[60:100])
    write_parquet(folder / "c.parquet", made[100:], group_rows=50)
    return made


def cut(documents: list[Document], kind: str, *, min_documents: int = 2, keep: str = "first", **scopes: Any) -> list[str | None]:
    """What is left of each text; None of one that was cut and has nothing left."""
    occurrences: dict[Any, list[tuple[int, int]]] = {}
    split = [row["text"].split(BREAK[kind]) for row in documents]
    for place, row in enumerate(documents):
        scope = [row[name] for name in scopes.get("within", ())]
        if scopes.get("per_domain"):
            if row["url"] is None:
                continue
            scope.append(row["url"].split("/")[2])
        for number, passage in enumerate(split[place]):
            if len(passage.strip()) >= MIN_CHARS:
                occurrences.setdefault((*scope, " ".join(passage.split())), []).append((place, number))
    goes = {
        one
        for places in occurrences.values()
        if len({place for place, _ in places}) >= min_documents
        for one in places[1 if keep == "first" else 0 :]
    }
    left = [
        BREAK[kind].join(passage for number, passage in enumerate(passages) if (place, number) not in goes)
        for place, passages in enumerate(split)
    ]
    touched = {place for place, _ in goes}
    return [None if place in touched and not text.strip() else text for place, text in enumerate(left)]


def ran(folder: Path, name: str, operators: list[dict[str, Any]], limits: Any = None, unit_bytes: int = 1 << 20) -> Output:
    """A run over the corpus in the folder; `finished` has it verified."""
    sections = {"input": {"id_column": "id"}, "execution": {"unit_bytes": unit_bytes}}
    return finished(config_of(folder / "p.yaml", f"{folder}/in/", folder / name, operators, **sections), limits)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"keep": "none"},
    {"keep": "none", "min_documents": 20},
    {"within": ["lang"]},
    {"per_domain": True, "keep": "none", "min_documents": 3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", BREAK)
def test_a_run_leaves_what_plain_python_leaves(tmp_path, kind, settings):
    """Every text, every dropped document, and what the manifest counts as cut; in one task or in very many the same files."""
    documents = corpus_of(tmp_path / "in", kind)
    wanted = cut(documents, kind, **settings)
    operator = {"type": kind, "min_chars": MIN_CHARS, **settings}
    found = ran(tmp_path, "out", [operator])
    stays = {row["id"]: text for row, text in zip(documents, wanted, strict=True) if text is not None}
    assert {row["id"]: row["text"] for row in found.rows("id", "text")} == stays
    assert [row["id"] for row in found.rows("id")] == list(stays)
    assert {row["id"] for row in found.table("dropped")} == {row["id"] for row in documents} - set(stays)
    assert found.table("duplicates") == []
    before = [row["text"] for row in documents]
    chars = sum(len(text) - len(left or "") for text, left in zip(before, wanted, strict=True))
    removed = found.manifest["operators"][0]["removed"]
    assert 0 < removed["documents"] == sum(text != left for text, left in zip(before, wanted, strict=True))
    assert removed["chars"] == chars
    assert removed["passages"] >= removed["documents"]
    tiny = ran(tmp_path, "tiny", [operator], ROUNDS, unit_bytes=1024)
    assert differences(files_of(found.root), files_of(tiny.root)) == []


def test_dropped_documents_are_told_as_they_came(tmp_path):
    """With `dropped: true` the table holds the text that was there before it was cut."""
    documents = corpus_of(tmp_path / "in", "line_dedup")
    config = config_of(
        tmp_path / "p.yaml",
        f"{tmp_path}/in/",
        tmp_path / "out",
        [{"type": "line_dedup", "min_chars": MIN_CHARS, "keep": "none"}],
        input={"id_column": "id"},
        output={"dropped": True},
    )
    found = finished(config).table("dropped")
    texts = {row["id"]: row["text"] for row in documents}
    assert found
    assert {row["reason"] for row in found} == {"duplicate_lines"}
    assert all(row["text"] == texts[row["id"]] for row in found)


def page(number: int, body: str, menu: bool) -> Document:
    """A page of which a menu of several lines is most."""
    rest = "which stands on each and every page of this site, whatever else may be there to read for those who came"
    lines = [f"{line}, {rest}" for line in MENU] if menu else []
    return {"id": f"d{number}", "text": "\n".join([*lines, body]), "url": None, "score": 1.0, "lang": "en"}


@pytest.mark.parametrize("limits", [None, TINY], ids=["at once", "tiny tasks"])
def test_what_comes_after_sees_the_edited_text(tmp_path, limits):
    """Pages that share a menu are no near-duplicates without it, and pages of one content are, once the menu of one is gone."""
    draw = random.Random(5)
    bodies = [" ".join(draw.choice(WORDS) for _ in range(12)) for _ in range(40)]
    same = " ".join(draw.choice(WORDS) for _ in range(12))
    documents = [page(number, body, menu=True) for number, body in enumerate(bodies)]
    documents += [page(40, same, menu=True), page(41, f"{same}!", menu=False)]
    write_parquet(tmp_path / "in" / "a.parquet", documents)
    near = {"type": "minhash_dedup", "threshold": 0.6}
    lines = {"type": "line_dedup", "keep": "none"}
    unit_bytes = 1 << 20 if limits is None else 2000
    alone = ran(tmp_path, "alone", [near], limits, unit_bytes)
    assert len(alone.table("duplicates")) >= 30
    found = ran(tmp_path, "both", [lines, near, {"type": "length_filter", "min_chars": 5}], limits, unit_bytes)
    assert {row["id"]: row["kept_id"] for row in found.table("duplicates")} == {"d41": "d40"}
    assert [row["text"] for row in found.rows("text")] == [*bodies, same]
    assert found.manifest["operators"][0]["removed"]["passages"] == len(MENU) * 41


def test_two_that_cut_follow_each_other(tmp_path):
    """Paragraphs are counted in what lines have left, and each operator tells what it took itself."""
    documents = corpus_of(tmp_path / "in", "line_dedup")
    steps = [{"type": "line_dedup", "min_chars": MIN_CHARS}, {"type": "paragraph_dedup", "min_chars": 1}]
    found = ran(tmp_path, "out", steps)
    left = cut(documents, "line_dedup")
    assert [text for text, number in Counter(found.texts()).items() if number > 1] == [""]
    assert set(found.texts()) == {text for text in left if text is not None}
    removed = [operator["removed"] for operator in found.manifest["operators"]]
    assert removed[0]["documents"] > 0
    assert removed[1]["documents"] == sum(number - 1 for number in Counter(text for text in left if text).values())
