"""The report: one HTML file that loads nothing, holds whatever was run, and can be read by everyone."""

from __future__ import annotations

import copy
import html
import re
from html.parser import HTMLParser

import pytest
from manifests import NASTY, STEPS, huge_manifest, learned, make_manifest, nasty_manifest, warning

from pipelines.legible import legible
from pipelines.report import report

VOID = {"meta", "br", "hr", "img", "input", "link"}
KNOWN = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "p", "strong", "span", "bdi", "code"}
KNOWN |= {
    "dl",
    "div",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "i",
    "ul",
    "li",
    "details",
    "summary",
    "pre",
    "a",
}


class Page(HTMLParser):
    """Elements in order, each with its attributes; the text; and whether every element that opens closes in order."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def described(manifest):
    return "".join(Page(report(manifest)).text)


MANIFESTS = {
    "usual": make_manifest(),
    "no operators": make_manifest(()),
    "no rows": make_manifest((), rows_in=0, unread=0, output={"shards": 0, "rows": 0, "bytes": 0, "tokens": None}),
    "nothing kept": make_manifest(STEPS[:1], rows_in=9321, unread=0),
    "nasty": nasty_manifest(),
    "huge": huge_manifest(),
    "huge, long in HTML": huge_manifest('"'),
    "huge, long in JSON": huge_manifest("\\"),
    "huge, unprintable": huge_manifest("\x00"),
}


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_the_page_is_one_small_well_formed_file_that_loads_and_runs_nothing(manifest):
    text = report(manifest)
    page = Page(text)
    assert len(text.encode()) < 1_000_000
    assert {tag for tag, _ in page.elements} <= KNOWN
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "data", "action")]
        assert attributes.get("href", "#").startswith("#")
    assert re.search(r"<title>[^<>]+</title>", text)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)
def test_the_page_can_be_used_by_keyboard_and_screen_reader(manifest):
    page = Page(report(manifest))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("section"):
        assert "aria-label" in attributes or attributes["aria-labelledby"] in ids
    assert {attributes["scope"] for attributes in page.all("th")} <= {"col", "row"}
    assert len(page.all("table")) == len(page.all("caption"))
    for _, attributes in page.elements:
        scrolls = "scroll" in attributes.get("class", "")
        assert not scrolls or (attributes["tabindex"], attributes["role"]) == ("0", "region")
        assert attributes.get("class") != "bar" or attributes["aria-hidden"] == "true"
    assert all(link["href"].removeprefix("#") in ids for link in page.all("a"))
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


@pytest.mark.parametrize("name", NASTY)
def test_strangers_text_is_shown_and_is_never_markup(name):
    text = NASTY[name]
    steps = ((text, "type", {"setting": text}, {text: 3}, 0),)
    manifest = make_manifest(steps, name=text, errors={text: 12})
    manifest["input"].update(uri=text, unreadable_files=1, unreadable=[{"uri": text, "error": text, "message": text}])
    page = report(manifest)
    assert legible(text)[:60].strip() in html.unescape(re.search("<title>(.*)</title>", page)[1])
    assert all(line.isprintable() for line in page.split("\n"))
    assert described(manifest).count(legible(text, 80)) >= 7


def test_strangers_text_in_any_direction_is_set_apart_from_what_stands_around_it():
    page = report(make_manifest(((NASTY["rtl"], "x", {}, {NASTY["rtl"]: 1}, 0),)))
    assert set(re.findall(f"(.{{5}}){NASTY['rtl']}(.{{6}})", page)) == {("<bdi>", "</bdi>")}


def test_the_verdict_says_the_equation_and_whether_it_holds():
    manifest = make_manifest()
    assert "Every row is accounted for. 28,125 rows in = 11,000 out + 17,113 dropped + 12 quarantined." in described(manifest)
    manifest["ledger"]["rows_in"] += 1
    assert "The numbers do not add up. 28,126 rows in ≠ 11,000 out" in described(manifest)


def test_an_empty_result_says_why():
    assert "The input had no rows." in described(MANIFESTS["no rows"])
    assert "No document came through" in described(MANIFESTS["nothing kept"])
    assert "No document was dropped." in described(MANIFESTS["no operators"])


def test_bars_are_parts_of_the_whole_input():
    manifest = make_manifest((("a", "a", {}, {"x": 250}, 0),), rows_in=1000, unread=0, tokens=None, documents=None)
    bars = [attributes["style"] for attributes in Page(report(manifest)).all("i")]
    assert bars == ["width:100.00%", "width:75.00%", "width:25.00%", "width:100.00%"]  # reading, kept and dropped by `a`, its one reason


def test_files_that_could_not_be_read_are_listed_with_what_was_wrong():
    manifest = make_manifest()
    manifest["input"].update(unreadable_files=2, unreadable=[{"uri": "s3://raw/a.parquet", "error": "not_parquet", "message": "no footer"}])
    text = described(manifest)
    assert "2 files could not be read" in text
    assert "s3://raw/a.parquetnot_parquetno footer" in text
    assert "and 1 more" in text


def test_what_guards_warned_of_has_a_section_of_its_own():
    assert "Warnings" not in described(make_manifest(warnings=[]))
    page = Page(report(make_manifest(warnings=[warning(subject="<b>dump</b>", examples=["a&b"])])))
    assert {"id": "warnings", "aria-labelledby": "warnings-title"} in page.all("section")
    assert "minhash_dedup: <b>dump</b> lost 9,700 documents, 97.0% of its own, such as a&b" in "".join(page.text)


def test_what_was_cut_out_of_texts_stands_with_its_step():
    manifest = make_manifest((("line_dedup", "line_dedup", {}, {}, 0),))
    manifest["operators"][0]["removed"] = {"chars": 500, "documents": 3, "passages": 20}
    assert "line_dedup cut 20 passages (500 characters) out of 3 documents" in described(manifest)


def test_what_operators_learned_stands_with_the_output():
    found = make_manifest(learned=[learned("ours", "versions/v1/learned/ours/tokenizer.json")])
    assert "ours learned versions/v1/learned/ours/tokenizer.json from 1,234 documents." in described(found)
    assert "learned" not in described(make_manifest())


def test_the_same_manifest_gives_the_same_bytes():
    assert report(nasty_manifest()) == report(copy.deepcopy(nasty_manifest()))
