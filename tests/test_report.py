"""The report: one HTML file that loads nothing, holds whatever was run, and can be read by everyone."""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import html
import itertools
import re
import time

import pytest
from manifests import NASTY, STEPS, huge_manifest, learned, make_manifest, nasty_manifest, warning
from report_made import HOSTILE, data, dry, full_manifest, hostile, hostile_dry, huge
from report_page_read import KNOWN, Page, without_scripts

from pipelines.legible import legible
from pipelines.report import dry_run_page, report, without_documents
from pipelines.study import Histogram, ReportData


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


MADE = {
    **{name: functools.partial(report, manifest) for name, manifest in MANIFESTS.items()},
    "full": lambda: report(full_manifest(), data()),
    "hostile": lambda: report(nasty_manifest(), hostile(HOSTILE)),
    "huge documents, long in HTML": lambda: report(huge_manifest('"'), huge('"')),
    "huge documents, unprintable": lambda: report(huge_manifest("\x00"), huge("\x00")),
    "huge documents, wide": lambda: report(huge_manifest("\U0001f600"), huge("\U0001f600")),
    "dry run": lambda: dry_run_page(dry()),
    "dry run, hostile": lambda: dry_run_page(hostile_dry(HOSTILE)),
    "dry run of nothing": lambda: dry_run_page(
        dry(operators=(), thresholds=(), histograms=(), examples=(), pairs=(), projection={}, notes=(), input={})
    ),
}


@functools.cache
def made(name):
    """A page, and what a parser sees of it."""
    text = MADE[name]()
    return text, Page(text)


@pytest.mark.parametrize("name", MADE)
def test_the_page_is_one_small_well_formed_file_that_loads_nothing_and_runs_nothing_but_its_own_scripts(name):
    text, page = made(name)
    assert len(text.encode()) < 5_000_000
    assert {tag for tag, _ in page.elements} <= KNOWN
    for _, attributes in page.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "srcset", "data", "action", "formaction", "ping")
        ]
        assert attributes.get("href", "#").startswith("#")
    assert re.search(r"<title>[^<>]+</title>", text)
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    allowed = re.search("script-src ([^;]*)", policy)[1].split()
    assert "default-src 'none'" in policy
    assert [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in page.scripts] == allowed


@pytest.mark.parametrize("name", MADE)
def test_the_page_can_be_used_by_keyboard_and_screen_reader(name):
    _, page = made(name)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("nav")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for reference in ("aria-labelledby", "aria-describedby", "for"):
            assert set(attributes.get(reference, "").split()) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag in ("section", "article", "nav"):
        assert all({"aria-label", "aria-labelledby"} & set(attributes) for attributes in page.all(tag))
    assert {attributes["scope"] for attributes in page.all("th")} <= {"col", "row"}
    assert len(page.all("table")) == len(page.all("caption"))
    for _, attributes in page.elements:
        scrolls = "scroll" in attributes.get("class", "").split()
        assert not scrolls or (attributes["tabindex"], attributes["role"]) == ("0", "region")
        assert attributes.get("class") != "bar" or attributes["aria-hidden"] == "true"
    assert all(link["href"].removeprefix("#") in ids for link in page.all("a"))
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


@pytest.mark.parametrize("name", MADE)
def test_every_chart_has_data_and_words_and_a_table_beside_it(name):
    text, page = made(name)
    figures = [attributes["data-chart"] for attributes in page.all("figure")]
    assert sorted(figures) == sorted(page.charts)
    assert len(page.all("details", "numbers")) + text.count('data-chart="work-memory"') == len(figures)
    for spec in page.charts.values():
        values = [value for layer in spec["layer"] for value in layer["data"]["values"]]
        assert values
        assert all(value["says"] for layer in spec["layer"] if "description" in layer["encoding"] for value in layer["data"]["values"])
        assert len(values) < 5000


@pytest.mark.parametrize("name", NASTY)
def test_strangers_text_is_shown_and_is_never_markup(name):
    text = NASTY[name]
    steps = ((text, "type", {"setting": text}, {text: 3}, 0),)
    manifest = make_manifest(steps, name=text, errors={text: 12})
    manifest["input"].update(uri=text, unreadable_files=1, unreadable=[{"uri": text, "error": text, "message": text}])
    page = report(manifest)
    assert legible(text)[:60].strip() in html.unescape(re.search("<title>(.*?)</title>", page)[1])
    assert all(line.isprintable() for line in without_scripts(page).split("\n"))
    assert described(manifest).count(legible(text, 80)) >= 7


def test_strangers_text_in_any_direction_is_set_apart_from_what_stands_around_it():
    page = report(make_manifest(((NASTY["rtl"], "x", {}, {NASTY["rtl"]: 1}, 0),)))
    assert set(re.findall(f"(.{{5}}){NASTY['rtl']}(.{{6}})", without_scripts(page, data=True))) == {("<bdi>", "</bdi>")}


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
    bars = [attributes["style"] for attributes in Page(report(manifest)).all("i") if "style" in attributes]
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


def test_buckets_at_the_ends_say_that_they_hold_what_lies_beyond():
    """Zeros stand in a bucket from a half on, and what is far out in the last one: neither is told as lying within."""
    histogram = Histogram("q", "lines", "lines", "", (0.5, 1.0, 2.0, 4.0), (5, 3, 1), (5, 0, 0), 0, (), is_log=True)
    page = report(make_manifest(), ReportData(histograms=(histogram,), studied=9))
    for told in ("below 1", "1 to 2", "2 or more"):
        assert f'<th scope="row">{told}</th>' in page
        assert f"{told} lines: " in page
    assert "0.5 to" not in page


def test_the_same_manifest_and_data_give_the_same_bytes():
    assert report(nasty_manifest()) == report(copy.deepcopy(nasty_manifest()))
    assert report(full_manifest(), data()) == report(full_manifest(), copy.deepcopy(data()))
    assert dry_run_page(dry()) == dry_run_page(copy.deepcopy(dry()))


@pytest.mark.parametrize("name", ["full", "hostile", "dry run", "dry run, hostile"])
def test_without_documents_nothing_of_any_text_is_left_and_all_else_stays(name):
    whole, bare = made(name)[0], without_documents(made(name)[0])
    secret = "harbour" if name in ("full", "dry run") else "txt.exe"
    assert secret in whole
    assert 'class="doc"' not in bare
    assert "Best price" not in bare
    if name in ("full", "dry run"):
        assert secret not in bare
        assert "found a list" not in bare
    before, after = whole.split("<!--documents-->")[0], whole.split("<!--/documents-->")[-1]
    assert bare.startswith(before)
    assert bare.endswith(after)
    assert Page(bare).charts == made(name)[1].charts
    assert 'href="#samples"' in bare
    assert 'id="samples"' in bare
    assert without_documents(bare) == bare


def test_a_page_without_documents_is_as_it_was():
    assert without_documents(report(make_manifest())) == report(make_manifest())


def test_a_report_of_counts_alone_is_made_in_milliseconds():
    """Every run ends with one: what it costs is told beside the cost of the table of the funnel, on whatever machine this is."""
    manifest = make_manifest()
    report(manifest)
    started = time.process_time()
    for _ in range(20):
        report(manifest)
    assert (time.process_time() - started) / 20 < 0.05
