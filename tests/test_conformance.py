"""The four quality filters against datatrove's own, on a sample of the real documents."""

from __future__ import annotations

import pytest
from operator_samples import SHARED

pytest.importorskip("datatrove.pipeline.filters", reason="datatrove, an extra, is not installed")
pytest.importorskip("spacy", reason="spaCy, which datatrove splits English with, is not installed")

from benchmarks.conformance import CASES, Agreement, Verdict, compare, markdown

# Each n-th document of a file of every group: a few seconds of datatrove's time each.
SAMPLE = {
    "code-00000": 40,
    "dups-00000": 40,
    "edge-00000": 4,
    "en-open-00003": 60,
    "multi-00003": 20,
    "multi-lid-00000": 400,
    "neardup-00003": 15,
    "synthetic-00000": 30,
    "web-thirdparty-00003": 8,
}


@pytest.fixture(scope="module")
def agreements():
    folder = SHARED / "data" / "docs"
    if not folder.is_dir():
        pytest.skip(f"real documents are absent: {folder}")
    total = {case.name: Agreement() for case in CASES}
    for name, every in SAMPLE.items():
        for case, part in compare([folder / f"{name}.parquet"], every).items():
            for count in ("documents", "same_verdict", "dropped", "same_reason", "kept", "same_text"):
                setattr(total[case], count, getattr(total[case], count) + getattr(part, count))
            total[case].classes.update(part.classes)
    return total


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_filters_agree_with_datatrove(agreements, name):
    """Verdicts, reasons and remaining texts agree as far as is promised, and there are enough of each kind to tell."""
    found = agreements[name]
    assert found.holds, markdown(agreements)
    assert found.dropped > 15
    assert found.kept > 15


def test_disagreements_are_counted_and_named():
    """A verdict, a reason or a text that differs lowers its share and is a class of its own."""
    found = Agreement()
    for theirs, ours in (
        (Verdict(True, None, "a"), Verdict(True, None, "a")),
        (Verdict(True, None, "a"), Verdict(True, None, "b")),
        (Verdict(False, "empty"), Verdict(False, "list_ratio")),
        (Verdict(False, "empty"), Verdict(True, None, "a")),
    ):
        found.add("web", "d1", theirs, ours)
    assert (found.same_verdict, found.same_reason, found.same_text, found.holds) == (3, 0, 1, False)
    assert found.classes == {
        ("web", "kept, another text", "kept, another text"): 1,
        ("web", "empty", "list_ratio"): 1,
        ("web", "empty", "kept"): 1,
    }
