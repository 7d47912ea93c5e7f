"""The report in a browser: headless Chromium, where there is one."""

from __future__ import annotations

import os
import shutil

import pytest
from manifests import NASTY, make_manifest, nasty_manifest
from report_made import HOSTILE, data, dry, full_manifest, hostile, hostile_dry

from pipelines.report import dry_run_page, report, without_documents
from pipelines.report_style import DARK, LIGHT
from pipelines.study import Example, Excerpt, ReportData

CHROMIUM = os.environ.get("SHARDMILL_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH; SHARDMILL_CHROMIUM may name one")
PLANTED = HOSTILE + "".join(NASTY[name] for name in ("markup", "attribute", "entity", "markdown", "surrogate", "terminal"))
PAGES = {
    "full": lambda: report(full_manifest(), data()),
    "counts alone": lambda: report(make_manifest()),
    "hostile": lambda: report(nasty_manifest(), hostile(PLANTED)),
    "without documents": lambda: without_documents(report(full_manifest(), data())),
    "dry run": lambda: dry_run_page(dry()),
    "dry run, hostile": lambda: dry_run_page(hostile_dry(PLANTED)),
}


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_bytes(make().encode())
    return folder


@pytest.fixture(scope="module")
def opened(browser, files):
    """Opens a page, and remembers all that it said, asked for and opened."""
    contexts = []

    def open_page(name, *, width=1100, scripts=True, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts, **options)
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append((message.type, message.text)))
        page.on("pageerror", lambda error: page.said.append(("error", str(error))))
        page.on("dialog", lambda dialog: (page.said.append(("dialog", dialog.message)), dialog.dismiss()))
        page.on("request", lambda request: page.said.append(("request", request.url)))
        context.on("page", lambda other: page.said.append(("page", other.url)))
        page.goto((files / f"{name}.html").as_uri())
        if scripts:
            page.wait_for_selector("html[data-charts=drawn]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def full(opened):
    """One page of a real run for the tests that only read or leave things as they were."""
    return opened("full")


@needs_chromium
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360])
def test_a_page_opens_without_a_word_loads_nothing_draws_every_chart_and_fits_a_phone(opened, files, name, width):
    page = opened(name, width=width)
    assert page.said == [("request", (files / f"{name}.html").as_uri())]
    drawn = page.eval_on_selector_all("figure[data-chart]", "all => all.map(one => one.querySelectorAll('svg [data-place]').length)")
    assert drawn
    assert all(drawn)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@needs_chromium
@pytest.mark.parametrize("name", ["hostile", "dry run, hostile"])
def test_what_documents_planted_stays_text(opened, name):
    page = opened(name)
    assert page.evaluate("[window.hacked, document.querySelectorAll('img, iframe, object, embed, base, link').length]") == [None, 0]
    assert page.evaluate("[...document.querySelectorAll('a')].every(link => link.getAttribute('href').startsWith('#'))")
    assert page.evaluate("document.querySelectorAll('script:not([type])').length") == 3
    shown = page.eval_on_selector_all(".doc", "all => all.map(one => one.textContent)")
    assert shown
    assert all("onerror='window.hacked = 1'" in text for text in shown)
    assert page.eval_on_selector_all(".doc b.c", "all => new Set(all.map(one => one.textContent)).size") > 8
    # Every mark of every chart says what it says as text, too.
    page.locator("[data-place]").first.focus()
    assert page.locator(".tip").evaluate("tip => tip.children.length") == 0


def focused(page):
    return page.evaluate("[document.activeElement.tagName, document.activeElement.getAttribute('aria-label')]")


@needs_chromium
def test_charts_are_read_by_keyboard_alone(full):
    for _ in range(60):
        full.keyboard.press("Tab")
        if full.evaluate("'place' in document.activeElement.dataset"):
            break
    first = focused(full)[1]
    assert first == "reading: 28,113 kept, >99.9% of what came in, >99.9% of all"
    assert full.locator("#told").text_content() == first
    assert full.locator(".tip").is_visible()
    assert full.locator(".tip").text_content() == first
    full.keyboard.press("ArrowRight")
    full.keyboard.press("ArrowDown")
    third = focused(full)[1]
    full.keyboard.press("ArrowLeft")
    assert focused(full)[1] not in (first, third)
    full.keyboard.press("End")
    last = focused(full)[1]
    full.keyboard.press("ArrowRight")
    assert focused(full)[1] == last == full.locator("#told").text_content()
    full.keyboard.press("Home")
    assert focused(full)[1] == first
    assert full.eval_on_selector_all("figure", "all => all.every(one => one.querySelectorAll('[data-place][tabindex=\"0\"]').length === 1)")
    full.keyboard.press("Escape")
    assert focused(full)[0] == "SUMMARY"
    assert not full.locator(".tip").is_visible()
    assert full.locator("#told").text_content() == ""


@needs_chromium
def test_a_screen_reader_hears_charts_as_what_they_are(full):
    """Each chart is an application, so that arrow keys reach it, under its title, and holds its marks without other noise."""
    nodes = full.context.new_cdp_session(full).send("Accessibility.getFullAXTree")["nodes"]
    heard = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")]
    charts = full.locator("figure.chart")
    titles = [title.strip() for title in charts.locator("figcaption").all_inner_texts()]
    assert len(titles) == charts.count() > 5
    assert sorted(" ".join(name.split()) for role, name in heard if role == "application") == sorted(
        " ".join(one.split()) for one in titles
    )
    assert not {role for role, _ in heard} & {"form", "graphics-object"}
    assert [name for role, name in heard if role == "search"] == ["Documents"]


@needs_chromium
def test_no_document_paints_over_what_stands_around_it(browser, tmp_path):
    """Of thousands of marks on one letter, in a text or a name, none is drawn outside of its box."""
    tall = "a" + "\u0301" * 3000
    written, above = tmp_path / "tall.html", []
    for word in ("a", tall):
        document = Excerpt(id=word, uri=None, row=None, text=word, num_chars=3001)
        written.write_text(report(make_manifest(), ReportData(examples=(Example(None, None, None, document),))), encoding="utf-8")
        page = browser.new_page(viewport={"width": 360, "height": 900})
        page.goto(written.as_uri())
        page.wait_for_selector("html[data-charts=drawn]", state="attached")
        page.locator("article.sample").scroll_into_view_if_needed()
        box = page.locator("article.sample").bounding_box()
        above.append(page.screenshot(clip={"x": 0, "y": box["y"] - 200, "width": 360, "height": 200}))
        page.close()
    assert above[0] == above[1]


@needs_chromium
def test_a_mark_keeps_the_focus_when_the_width_changes(opened):
    page = opened("counts alone")
    page.locator("[data-place]").first.focus()
    page.keyboard.press("ArrowRight")
    before = focused(page)
    width = page.locator("figure svg").first.get_attribute("width")
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function("(width) => document.querySelector('figure svg')?.getAttribute('width') !== width", arg=width)
    page.wait_for_selector("[data-place][tabindex='0']:focus", state="attached")
    assert focused(page) == before


@needs_chromium
def test_search_works_by_keyboard_alone(full):
    full.evaluate("document.activeElement.blur()")
    full.keyboard.press("/")
    assert full.evaluate("document.activeElement.id") == "find"
    count = full.locator("#found")
    assert count.text_content() == "8 documents"
    full.keyboard.type("BEST price")
    full.wait_for_selector("html[data-found='2']", state="attached")
    assert count.text_content() == "2 of 8 documents"
    shown = [article for article in full.locator("article.sample").all() if article.is_visible()]
    assert len(shown) == 2
    assert all("Best price" in article.text_content() for article in shown)
    assert not full.locator("article.sample:not([hidden])", has_text="Page not found").count()
    assert full.eval_on_selector_all(".group:not([hidden])", "all => all.every(one => one.open)")
    assert full.evaluate("CSS.highlights.get('found').size") == 9
    full.keyboard.press("Enter")
    assert full.evaluate("document.activeElement.matches('article.sample:not([hidden])')")
    full.keyboard.press("/")
    full.keyboard.type(".*[")
    full.wait_for_selector("html[data-found='0']", state="attached")
    assert count.text_content() == "0 of 8 documents"
    full.keyboard.press("Escape")
    assert full.locator("#find").input_value() == ""
    assert count.text_content() == "8 documents"
    assert full.eval_on_selector_all(".group[open]", "all => all.length") == 1
    full.locator("#only").select_option(label="dropped by gopher_quality")
    assert count.text_content() == "2 of 8 documents"
    full.locator("#only").select_option(index=0)


@needs_chromium
def test_everything_that_takes_the_focus_has_a_name_and_shows_that_it_has_it(full):
    nameless = full.evaluate("""() => {
      const named = (element) => element.getAttribute('aria-label') || element.textContent.trim()
        || (element.labels && element.labels.length) || element.getAttribute('aria-labelledby');
      return [...document.querySelectorAll('a, button, input, select, summary, [tabindex], [role=application]')]
        .filter((element) => !named(element)).map((element) => element.outerHTML.slice(0, 200));
    }""")
    assert nameless == []
    full.evaluate("document.activeElement.blur()")
    full.keyboard.press("Tab")
    assert full.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    full.locator(".skip").focus()
    assert full.evaluate("getComputedStyle(document.activeElement).top") == "8px"
    assert full.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "smooth"


@needs_chromium
def test_dark_mode_reaches_charts_and_print_is_light_with_all_numbers(opened):
    page = opened("counts alone", color_scheme="dark", reduced_motion="reduce")
    colours = """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('[data-place]')).fill,
      getComputedStyle(document.documentElement).scrollBehavior]"""

    def rgb(value):
        return f"rgb({int(value[1:3], 16)}, {int(value[3:5], 16)}, {int(value[5:7], 16)})"

    assert page.evaluate(colours) == [rgb(DARK["paper"]), rgb(DARK["kept"]), "auto"]
    assert page.eval_on_selector_all("details.numbers[open]", "all => all.length") == 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(colours)[:2] == [rgb(LIGHT["paper"]), rgb(LIGHT["kept"])]
    assert page.eval_on_selector_all("details.numbers:not([open])", "all => all.length") == 0


@needs_chromium
def test_without_scripts_numbers_and_documents_are_there_to_read(opened):
    page = opened("full", scripts=False)
    assert page.locator("figure").count() > 5
    assert not any(figure.is_visible() for figure in page.locator("figure").all())
    assert not page.locator("form.search").is_visible()
    assert page.get_by_role("table", name="Rows by step").is_visible()
    assert page.get_by_text("The harbour was dredged").first.is_visible()


def contrast(one, other):
    """Of two colours, as WCAG 2 defines it."""

    def luminance(value):
        parts = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_have_enough_contrast(colours):
    assert set(LIGHT) == set(DARK)
    for paper in ("paper", "soft"):
        for ink in ("ink", "quiet", "good", "bad", "kept"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for paper in ("place", "differs", "found"):
        assert contrast(colours["ink"], colours[paper]) >= 4.5, paper
    for mark in ("kept", "gone", "ill", "edge", *(f"c{number}" for number in range(1, 7))):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
