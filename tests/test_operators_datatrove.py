"""datatrove's blocks as operators: its own verdicts and edits, one row at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from operator_samples import ASSETS, PROSE, documents, opened, outcome, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.datatrove import Datatrove

BLOCKS = [
    ("GopherRepetitionFilter", {}),
    ("GopherQualityFilter", {}),
    ("GopherQualityFilter", {"min_doc_words": 20, "min_stop_words": None}),
    ("C4QualityFilter", {"filter_no_terminal_punct": False}),
    ("C4ParagraphFilter", {}),
    ("FineWebQualityFilter", {"short_line_thr": 0.5}),
    ("RegexFilter", {"regex_exp": "[Tt]he"}),
    ("URLFilter", {"extra_domains": ["site1.example"], "use_integrated_lists": False}),
    ("FTFYFormatter", {}),
    ("SymbolLinesFormatter", {"replace_char": "\n"}),
    ("PIIFormatter", {}),
]


def texts(*values: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(values, pa.string())})


def run(block: str, batch: pa.RecordBatch, **settings):
    return opened(Datatrove(block=block, **settings))(batch)


def reference(block: str, args: dict, text: str, url: str) -> tuple[bool, str | None, str]:
    """Kept, reason and text, as a new instance of the block has them for this document alone."""
    from datatrove.data import Document
    from datatrove.pipeline import filters, formatters
    from datatrove.pipeline.filters.base_filter import get_filter_result
    from tldextract import TLDExtract

    made = _REFERENCES.get((block, str(args)))
    if made is None or block == "PIIFormatter":
        made = _REFERENCES[block, str(args)] = (getattr(filters, block, None) or getattr(formatters, block))(**args)
    if block == "URLFilter":
        made.tldextractor = TLDExtract(suffix_list_urls=())  # its default asks the network
    document = Document(text=text, id="", metadata={"url": url})
    if hasattr(made, "format"):
        return True, None, made.format(text)
    kept, reason = get_filter_result(made.filter(document))
    return bool(kept), reason, document.text


_REFERENCES: dict = {}


@pytest.mark.filterwarnings("ignore:The 'registered_domain' property:DeprecationWarning")  # the reference's own
@pytest.mark.parametrize(("block", "args"), BLOCKS, ids=str)
def test_verdicts_and_edits_are_datatrove_s(block, args):
    """On real documents each block keeps, drops, names the reason and edits as it does in datatrove."""
    real = real_documents("en-open-00003", "web-thirdparty-00003", "synthetic-00000", limit=40)
    kept = [row for row in range(real.num_rows) if 0 < len(real.column("text")[row].as_py()) < 30_000]
    batch = pa.record_batch(
        {"text": real.column("text").take(kept), "url": [f"https://sub.site{row % 3}.example/a-{row}" for row in range(len(kept))]}
    )
    result = run(block, batch, args=args)
    assert result.errors == {}
    reasons = [None] * len(kept) if result.reasons is None else result.reasons.to_pylist()
    seen = zip(
        batch.column("text").to_pylist(), batch.column("url").to_pylist(), reasons, result.batch.column("text").to_pylist(), strict=True
    )
    for text, url, reason, edited in seen:
        keeps, why, expected = reference(block, args, text, url)
        assert reason == (None if keeps else why or "filtered")
        assert edited == (expected if keeps else text)


def test_edits_of_kept_documents_stay_and_dropped_ones_keep_their_text():
    """C4 removes lines from what stays; what goes is shown as it came."""
    kept = "\n".join([*(["This is a good long line of text."] * 6), "too short", "we use cookies on this page."])
    dropped = "This is a line of text.\nlorem ipsum dolor sit amet."
    result = run("C4QualityFilter", texts(kept, dropped), args={"filter_no_terminal_punct": False})
    assert result.batch.column("text").to_pylist() == ["\n".join(["This is a good long line of text."] * 6), dropped]
    assert result.reasons.to_pylist() == [None, "lorem_ipsum"]


def test_a_dropped_document_is_shown_as_it_came(monkeypatch):
    """What a block did to the text before it dropped the document is undone."""
    from datatrove.pipeline import filters

    class Empties(filters.RegexFilter):
        def __init__(self):
            super().__init__("x")

        def filter(self, doc):
            keeps, doc.text = super().filter(doc), "edited"
            return keeps

    monkeypatch.setattr(filters, "Empties", Empties, raising=False)
    result = run("Empties", texts("a", "x"))
    assert (result.batch.column("text").to_pylist(), result.reasons.to_pylist()) == (["edited", "x"], [None, "filtered"])


def test_documents_without_text_are_counted():
    """What datatrove's readers leave out silently has a reason here; formatters let it pass."""
    assert run("GopherRepetitionFilter", texts("", PROSE)).reasons.to_pylist()[0] == "empty"
    assert run("FTFYFormatter", texts("", "a")).reasons.to_pylist() == [None, None]


def test_replacements_do_not_depend_on_other_documents():
    """PIIFormatter counts on from document to document in datatrove; here each begins anew."""
    two, one = "a@b.org c@d.org e@f.org 8.8.8.8", "g@h.org"
    together = run("PIIFormatter", texts(two, one, one)).batch.column("text").to_pylist()
    assert together == [
        "email@example.com firstname.lastname@example.org email@example.com 22.214.171.124",
        "email@example.com",
        "email@example.com",
    ]


def test_sampling_depends_on_the_seed_and_the_text():
    """The rate is met, equal texts are sampled alike, another seed draws another sample."""
    batch = texts(*(f"document {i % 500}" for i in range(1000)))
    first, second = (run("SamplerFilter", batch, args={"rate": 0.3, "seed": seed}).reasons.to_pylist() for seed in (1, 2))
    assert first[:500] == first[500:]
    assert 110 < first[:500].count(None) < 190
    assert first != second


def test_an_exception_is_the_fault_of_one_document():
    """A document on which the block raises is quarantined alone, under the exception's name; its neighbours are judged."""
    batch = pa.record_batch({"text": [PROSE, PROSE, PROSE], "url": ["https://a.example/", None, "https://b.example/"]})
    result = run("URLFilter", batch, args={"use_integrated_lists": False})
    assert {row: error.error for row, error in result.errors.items()} == {1: "assertion_error"}
    assert "does not have url" in result.errors[1].message
    assert result.reasons.to_pylist() == [None] * 3


def test_a_batch_of_the_block_s_own_is_tried_again_one_by_one(monkeypatch):
    """A block with `filter_batch` gets its batches, and where one fails only the document to blame is quarantined."""
    from datatrove.pipeline import filters

    sizes = []

    class Batched(filters.RegexFilter):
        def __init__(self):
            super().__init__("x")
            self.batch_size = 2

        def filter_batch(self, batch):
            sizes.append(len(batch))
            if any("bad" in document.text for document in batch):
                raise ValueError("a bad one")
            return super().filter_batch(batch)

    monkeypatch.setattr(filters, "Batched", Batched, raising=False)
    result = run("Batched", texts("a", "x", "bad", "x", "a"))
    assert result.reasons.to_pylist() == [None, "filtered", None, "filtered", None]
    assert {row: (error.error, error.message) for row, error in result.errors.items()} == {2: ("value_error", "ValueError: a bad one")}
    assert sizes == [1, 2, 2, 1, 1, 1]  # the probe, a pair, a pair that fails and is tried again, the rest


def test_columns_come_from_the_metadata(monkeypatch):
    """Columns named in `adds` are read from the document after the block; a value that does not fit quarantines its row."""
    from datatrove.pipeline import filters

    class Marks(filters.RegexFilter):
        def __init__(self):
            super().__init__("never")

        def filter(self, doc):
            seen = sorted(doc.metadata)
            doc.metadata |= {"size": "long" if "long" in doc.text else len(doc.text), "seen": ",".join(seen)} if seen != ["url"] else {}
            return True

    monkeypatch.setattr(filters, "Marks", Marks, raising=False)
    batch = pa.record_batch({"a": [1, 2], "text": ["abc", "long"], "b": ["x", None]})
    result = run("Marks", batch, adds={"size": "int32", "seen": "string"})
    assert result.batch.schema.names == ["a", "text", "b", "size", "seen"]
    assert result.batch.column("size").equals(pa.array([3, None], pa.int32()))
    assert result.batch.column("seen").to_pylist() == ["a,b", "a,b"]
    assert {row: error.error for row, error in result.errors.items()} == {1: "bad_metadata"}
    assert run("Marks", batch, adds={"seen": "string"}, metadata=["b"]).batch.column("seen").to_pylist() == ["b", "b"]


def test_text_that_arrow_cannot_hold_quarantines_its_row(monkeypatch):
    """A lone surrogate that a block makes is an error of that document."""
    from datatrove.pipeline import formatters

    class Breaks(formatters.FTFYFormatter):
        def format(self, text):
            return text.replace("x", "\ud800")

    monkeypatch.setattr(formatters, "Breaks", Breaks, raising=False)
    result = run("Breaks", texts("a", "x"))
    assert {row: error.error for row, error in result.errors.items()} == {1: "bad_text"}
    assert result.batch.column("text")[0].as_py() == "a"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "GopherQaulityFilter"}, "did you mean GopherQualityFilter"),
        ({"block": "Frobnicate"}, "there are: C4BadWordsFilter"),
        ({"block": "LambdaFilter"}, "filter_where"),
        ({"block": "SamplerFilter"}, "set args"),
        ({"block": "C4BadWordsFilter", "args": {"keep_fraction": 0.1}}, "set args"),
        ({"block": "GopherQualityFilter", "args": {"min_words": 3}}, "it takes: min_doc_words"),
        ({"block": "GopherQualityFilter", "args": {"language": "zz"}}, "cannot be used.*zz"),
        ({"block": "RegexFilter", "args": {"regex_exp": "("}}, "cannot be used"),
        ({"block": "FastTextClassifierFilter", "args": {"model_url": "/absent.bin"}}, "downloads at run time.*model_url.*path"),
    ],
    ids=str,
)
def test_blocks_that_cannot_work_say_so_at_once(settings, message):
    """Opening fails with what was found and what to do, before any document is lost to it."""
    with pytest.raises(OperatorError, match=message):
        Datatrove(**settings).open(ASSETS)


def test_settings_that_could_do_harm_are_refused():
    """No second way out for dropped documents, no unknown types."""
    with pytest.raises(ValidationError, match="set `output"):
        Datatrove(block="RegexFilter", args={"exclusion_writer": "x"})
    with pytest.raises(ValidationError, match="did you mean 'float32'"):
        Datatrove(block="RegexFilter", adds={"score": "flaot32"})


def test_missing_metadata_columns_are_named():
    """A column that the settings name must be there, in an empty batch too."""
    with pytest.raises(OperatorError, match="did you mean 'url'"):
        run("RegexFilter", documents().slice(0, 0), args={"regex_exp": "x"}, metadata=["urll"])


def test_nothing_is_printed(capfd):
    """datatrove's logging stays out of a worker's output."""
    outcome(run("URLFilter", documents(), args={"use_integrated_lists": False}))
    outcome(run("C4QualityFilter", documents()))
    assert capfd.readouterr() == ("", "")


def test_the_benchmark_measures_both_sides(tmp_path):
    """The benchmark runs, finds both sides keep the same documents, and prints one JSON object."""
    pq.write_table(pa.table({"id": [str(i) for i in range(40)], "text": [PROSE] * 40}), tmp_path / "in.parquet")
    command = [
        sys.executable,
        "benchmarks/bench_datatrove.py",
        "--input",
        str(tmp_path / "in.parquet"),
        "--repeat",
        "1",
        "--blocks",
        "PIIFormatter",
    ]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["documents"], summary["blocks"][0]["kept"]) == (40, 40)
    assert summary["lowest_ratio"] > 0
