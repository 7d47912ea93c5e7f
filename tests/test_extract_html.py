"""Text out of web pages: what the libraries give, in a process of its own that a bad page cannot take anything else down with."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import config_of, finished
from operator_samples import ASSETS, SHARED, FakeAssets
from pydantic import ValidationError
from warcs import PAGE, gz, http, info, others, page, record

from operators import extraction_process, extraction_worker
from operators.base import OperatorError
from operators.extract_html import ExtractHtml

ROOT = Path(__file__).resolve().parents[1]
SENTENCE = "The people of the town have been to the market, and that is what they came back with. "
ARTICLE = (
    "<html><head><title>A good day</title><meta name='author' content='Ann Example'></head><body>"
    "<nav><ul><li><a href='/'>Home</a></li><li><a href='/c'>Contact us</a></li></ul></nav>"
    f"<article><h1>A good day</h1><p>{SENTENCE * 3}</p><p>Für alle. {SENTENCE * 3}</p>"
    "<table><tr><td>apples</td><td>12</td></tr><tr><td>pears</td><td>7</td></tr></table></article>"
    "<footer>Copyright nobody</footer></body></html>"
)
EMPTY = "<html><head><script>let a = 1</script></head><body><div> </div></body></html>"
REAL_WORKER = extraction_worker.__file__

FAKE = """
import importlib.util, json, os, signal, sys, time
spec = importlib.util.spec_from_file_location("real", {real!r})
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
seen = []

def run(text):
    seen.append(text)
    if text == "crash" or (text == "crash unless alone" and len(seen) > 2):
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "exit":
        sys.exit(3)
    while text == "hang":
        pass
    if text == "sleep":
        time.sleep(100)
    if text == "eat":
        text = str(len(bytearray(8 << 30)))
    if text == "raise":
        raise KeyError("odd")
    if text == "print":
        print("noise", flush=True)
    if text == "input":
        text += repr(sys.stdin.read())
    return [text.upper(), None, str(os.getpid())]

def fake(settings):
    if {broken}:
        raise ImportError("no such thing")
    return run

real.EXTRACTORS["trafilatura"] = fake
real.main(json.loads(sys.argv[1]))
"""


def batch_of(*pages: str | None, **columns: Any) -> pa.RecordBatch:
    return pa.record_batch(
        {"id": pa.array([f"p{row}" for row in range(len(pages))], pa.string()), "text": pa.array(pages, pa.large_string()), **columns}
    )


def texts(result) -> list[str | None]:
    return result.batch.column("text").to_pylist()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Processes that do what the page says: crash, hang, raise; else they shout."""
    path = tmp_path / "worker.py"
    path.write_text(FAKE.format(real=REAL_WORKER, broken=False))
    monkeypatch.setattr(extraction_process.extraction_worker, "__file__", str(path))
    return path


def opened(**settings: Any):
    return ExtractHtml(**{"timeout_seconds": 0.5, "metadata": ["title", "author"], **settings}).open(ASSETS)


class TestText:
    @pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse"])
    def test_the_article_stays_and_what_surrounds_it_goes(self, extractor):
        """In place, tables included unless not wanted; an empty page is dropped, whatever else is in the batch."""
        extract = ExtractHtml(extractor=extractor).open(ASSETS)
        result = extract(batch_of(ARTICLE, EMPTY, "", ARTICLE))
        assert result.reasons.to_pylist() == [None, "empty_extraction", "empty_extraction", None]
        first, _, _, last = texts(result)
        assert first == last
        assert "Für alle. " + SENTENCE.strip() in first
        assert "apples" in first
        assert not any(word in first for word in ("Home", "Contact", "Copyright", "<"))
        without = ExtractHtml(extractor=extractor, include_tables=False).open(ASSETS)(batch_of(ARTICLE))
        assert "apples" not in texts(without)[0]
        assert "Für alle." in texts(without)[0]

    def test_the_text_is_the_librarys(self):
        """On real pages, what `trafilatura.extract` and `extract_plain_text` return in this process, but for blanks around it."""
        from resiliparse.extract.html2text import extract_plain_text
        from trafilatura import extract

        pages = real_pages()[:8]
        ours = ExtractHtml(favor="recall", output="markdown", include_comments=True).open(ASSETS)(batch_of(*pages))
        theirs = [extract(each, favor_recall=True, output_format="markdown", include_comments=True) or "" for each in pages]
        assert texts(ours) == [each.strip() for each in theirs]
        for comments in (True, False):
            ours = ExtractHtml(extractor="resiliparse", include_comments=comments).open(ASSETS)(batch_of(*pages))
            theirs = [extract_plain_text(each, main_content=True, alt_texts=False, comments=comments) for each in pages]
            assert texts(ours) == [each.strip() for each in theirs]

    def test_metadata_become_columns(self):
        """Null where a page does not say it; resiliparse knows the title."""
        result = ExtractHtml(metadata=["title", "author", "date"]).open(ASSETS)(batch_of(ARTICLE, None))
        assert result.batch.select(["html_title", "html_author", "html_date"]).to_pylist() == [
            {"html_title": "A good day", "html_author": "Ann Example", "html_date": None},
            {"html_title": None, "html_author": None, "html_date": None},
        ]
        result = ExtractHtml(metadata=["title"], extractor="resiliparse").open(ASSETS)(batch_of(ARTICLE, "<p>x"))
        assert result.batch.column("html_title").to_pylist() == ["A good day", None]

    def test_the_source_may_stay_or_come_from_elsewhere(self):
        """`keep_html` keeps it beside the text; `html_column` reads another column and leaves it as it is."""
        result = ExtractHtml(extractor="resiliparse", keep_html=True).open(ASSETS)(batch_of(ARTICLE))
        assert result.batch.column("html").to_pylist() == [ARTICLE]
        result = ExtractHtml(extractor="resiliparse", html_column="page").open(ASSETS)(batch_of("old", page=[ARTICLE]))
        assert result.batch.column("page").to_pylist() == [ARTICLE]
        assert texts(result)[0].startswith("A good day")
        with pytest.raises(OperatorError, match="a column 'html' already"):
            ExtractHtml(extractor="resiliparse", keep_html=True).open(ASSETS)(batch_of("x", html=["y"]))

    def test_the_text_column_may_have_any_name(self):
        """And any layout of strings."""
        batch = pa.record_batch({"body": pa.array([ARTICLE], pa.string())})
        result = ExtractHtml(extractor="resiliparse").open(FakeAssets(text_column="body"))(batch)
        assert result.batch.schema.field("body").type == pa.string()

    def test_null_and_large_pages_are_errors_of_their_rows(self):
        """Neither is sent anywhere."""
        result = ExtractHtml(extractor="resiliparse", max_html_bytes=len(ARTICLE.encode())).open(ASSETS)(
            batch_of(None, ARTICLE, ARTICLE + "x")
        )
        assert {row: error.error for row, error in result.errors.items()} == {0: "null_text", 2: "html_too_large"}
        assert result.reasons.to_pylist() == [None, None, None]

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"extractor": "resiliparse", "favor": "balanced"}, "no 'balanced'"),
            ({"extractor": "resiliparse", "output": "markdown"}, "no markdown"),
            ({"extractor": "resiliparse", "metadata": ["author"]}, "does not tell the author"),
            ({"html_column": "page", "keep_html": True}, "keeps the source anyway"),
            ({"metadata": ["title", "title"]}, "twice"),
        ],
    )
    def test_settings_that_cannot_be_followed_are_refused(self, settings, words):
        """With what would be possible."""
        with pytest.raises(ValidationError, match=words):
            ExtractHtml(**settings)


class TestBadPages:
    def test_each_costs_itself_alone(self, fake):
        """Pages that crash, hang, exit, eat memory or raise are errors of their rows; the others come out as always."""
        pages = ["a", "crash", "b", "hang", "c", "raise", "d", "eat", "e", "exit", "f", "crash unless alone", "g"]
        result = opened(max_memory_bytes=1 << 30)(batch_of(*pages))
        assert {pages[row]: error.error for row, error in result.errors.items()} == {
            "crash": "extraction_crashed",
            "hang": "extraction_timeout",
            "raise": "extraction_failed",
            "eat": "extraction_failed",
            "exit": "extraction_crashed",
        }
        assert texts(result)[::2] == ["A", "B", "C", "D", "E", "F", "G"]
        assert texts(result)[11] == "CRASH UNLESS ALONE"
        messages = {pages[row]: error.message for row, error in result.errors.items()}
        assert "SIGSEGV" in messages["crash"]
        assert "0.5 seconds of computing" in messages["hang"]
        assert "1073741824 bytes of memory" in messages["eat"]
        assert messages["raise"] == "KeyError: 'odd'"

    def test_a_page_that_waits_instead_of_computing_is_a_timeout_too(self, fake, monkeypatch):
        """Nothing hangs for ever: the clock is asked when the process does not answer."""
        monkeypatch.setattr(extraction_process, "STALLED_SECONDS", 0.2)
        result = opened(timeout_seconds=0.05)(batch_of("a", "sleep", "b"))
        assert {row: error.error for row, error in result.errors.items()} == {1: "extraction_timeout"}
        assert texts(result) == ["A", "", "B"]

    def test_what_a_library_prints_or_reads_is_no_answer(self, fake):
        """Its standard input and output are not the pipes."""
        assert texts(opened()(batch_of("print", "input", "x"))) == ["PRINT", "INPUT''", "X"]

    def test_large_pages_and_many_of_them_go_both_ways(self, fake):
        """More than pipes hold in both directions at once, without a deadlock."""
        pages = ["é" * 3_000_000, *[f"page {row} " + "x" * 5000 for row in range(2000)], "", "z" * 5_000_000]
        assert texts(opened()(batch_of(*pages))) == [each.upper() for each in pages]

    def test_processes_are_renewed(self, fake, monkeypatch):
        """After so many pages another one goes on."""
        monkeypatch.setattr(extraction_process, "PAGES_PER_PROCESS", 3)
        result = opened()(batch_of(*"abcdefgh"))
        assert texts(result) == list("ABCDEFGH")
        assert len(set(result.batch.column("html_author").to_pylist())) == 3

    def test_one_process_serves_all_batches(self, fake):
        """It is started once; an empty batch starts none."""
        extract = opened()
        empty = extract(batch_of())
        assert empty.batch.schema == extract(batch_of("a")).batch.schema
        pids = {extract(batch_of(each)).batch.column("html_author")[0].as_py() for each in "abc"}
        assert len(pids) == 1

    def test_a_process_that_was_killed_while_idle_is_replaced(self, fake):
        """No page is blamed for what happened between batches."""
        extract = opened()
        os.kill(int(extract(batch_of("a")).batch.column("html_author")[0].as_py()), signal.SIGKILL)
        result = extract(batch_of("b", "c"))
        assert texts(result) == ["B", "C"]
        assert not result.errors

    def test_a_library_that_cannot_be_loaded_is_one_clear_error(self, fake):
        """Told by the process that tried."""
        fake.write_text(FAKE.format(real=REAL_WORKER, broken=True))
        with pytest.raises(OperatorError, match="trafilatura cannot be loaded: ImportError: no such thing"):
            opened()(batch_of("a"))
        fake.write_text("raise SystemExit(9)")
        with pytest.raises(OperatorError, match="did not start: the process ended with status 9"):
            opened()(batch_of("a"))

    def test_a_library_that_is_not_installed_is_told_when_opened(self, monkeypatch):
        """Before any page."""
        monkeypatch.setattr("operators.extract_html.find_spec", lambda _name: None)
        with pytest.raises(OperatorError, match="pip install resiliparse"):
            ExtractHtml(extractor="resiliparse").open(ASSETS)

    @pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse"])
    def test_pages_that_are_made_to_hurt_end_one_way_or_another(self, extractor):
        """Deep nesting, a hundred thousand attributes, unclosed tables, broken entities, NULs: each is a text, a drop or an error."""
        pages = [
            "<div>" * 200_000 + SENTENCE,
            "<p " + " ".join(f"a{number}=1" for number in range(100_000)) + ">" + SENTENCE,
            "<table><tr><td>" * 3000 + SENTENCE,
            "&#x110000;&#0;&#xD800;&bogus;" * 1000 + "\0" + SENTENCE,
            "<!--" * 10_000,
            "<![CDATA[" * 10_000 + "]]>" * 10_000,
            '<?xml version="1.0" encoding="utf-16"?><html><p>' + SENTENCE * 9,
            "\U0010ffff\ufffe\x0b" + ARTICLE,
        ]
        result = ExtractHtml(extractor=extractor, timeout_seconds=0.5).open(ASSETS)(batch_of(*pages, ARTICLE))
        assert texts(result)[-1].startswith("A good day")
        result.batch.validate(full=True)


def has_ended(pid: int, seconds: float = 60) -> bool:
    """Whether a process ends in time; works for processes of others."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


class TestLife:
    def test_the_process_goes_with_the_function(self, fake):
        """No zombie, no open pipe: ResourceWarnings are errors here."""
        extract = opened()
        pid = int(extract(batch_of("a")).batch.column("html_author")[0].as_py())
        gc.collect()
        before = len(list(Path("/proc/self/fd").iterdir()))
        del extract
        gc.collect()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert len(list(Path("/proc/self/fd").iterdir())) == before - 2

    @pytest.mark.parametrize("page", ["a", "hang"])
    def test_the_process_does_not_outlive_a_parent_that_was_killed(self, fake, page):
        """Idle or busy for ever: its input ends, or its own limit does."""
        script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from operators import extraction_process
extraction_process.extraction_worker.__file__ = {str(fake)!r}
settings = dict(extractor="trafilatura", timeout_seconds=2, max_memory_bytes=1 << 30)
process = extraction_process.ExtractionProcess(settings)
print(process.run([b"first"])[0][2].decode(), flush=True)
process.run([{page.encode()!r}])
sys.stdin.read()
"""
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            pid = int(parent.stdout.readline())
            parent.kill()
            parent.wait()
            assert has_ended(pid)


def real_pages() -> list[str]:
    """Sources of real web pages; skips the test where they are absent."""
    folder = SHARED / "data" / "docs"
    if not folder.is_dir():
        pytest.skip(f"real documents are absent: {folder}")
    tables = [pq.read_table(path, columns=["source", "text"]) for path in sorted(folder.glob("web-thirdparty-*.parquet"))]
    found = pa.concat_tables(tables)
    return [row["text"] for row in found.to_pylist() if row["source"] == "raw-html"]


def test_a_run_from_warc_to_text_balances(tmp_path, no_fsync):
    """Pages of a WARC file become texts; empty ones are dropped, bad ones quarantined, and `verify` agrees."""
    folder = tmp_path / "in"
    folder.mkdir()
    parts = [
        info(),
        page(1, ARTICLE),
        *others(2),
        page(3, EMPTY),
        page(4, "x" * 20_000),
        record("response", http(b"\xff", Content_Encoding="br"), 5),
    ]
    (folder / "a.warc.gz").write_bytes(gz([*parts, page(6)]))
    steps = [{"type": "extract_html", "extractor": "resiliparse", "max_html_bytes": 10_000, "metadata": ["title"]}]
    found = finished(config_of(tmp_path / "p.yaml", f"{folder}/", tmp_path / "out", steps, execution={"max_quarantined_fraction": 0.9}))
    rows = found.rows("html_title", "url", "text")
    assert [(row["html_title"], row["url"]) for row in rows] == [
        ("A good day", "https://site1.example/page"),
        ("6", "https://site6.example/page"),
    ]
    assert rows[1]["text"] == "6\n\nBody of page 6, with enough words."
    assert PAGE.format(6) not in rows[1]["text"]
    assert found.manifest["ledger"]["dropped"] == {"extract_html": {"empty_extraction": 1}}
    assert found.manifest["ledger"]["quarantined"] == {"html_too_large": 1, "corrupt_payload": 1}
