"""`line_dedup` and `paragraph_dedup` as their users see them: from documents to documents."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from operator_samples import ASSETS, real_documents
from pydantic import ValidationError

from operators.base import OperatorError
from operators.line_dedup import LineDedup
from operators.paragraph_dedup import ParagraphDedup
from operators.passages import PassageOperator, PassageRows

MENU = "Home | About us | Contact | Imprint"
FOOTER = "All rights reserved by the owners of this site."


def deduplicated(operator: PassageOperator, batch: pa.RecordBatch) -> list[str | None]:
    """The texts afterwards; None for a document that goes."""
    keys = operator.open(ASSETS)(batch)
    hi, lo, row, passage = (keys.column(name).to_numpy() for name in ("key_hi", "key_lo", "index", "passage"))
    order = np.lexsort((passage, row, lo, hi))
    rows = PassageRows(hi[order], lo[order], np.zeros(len(order), np.int64), row[order], passage[order])
    gone = order[operator.decide_passages(rows)]
    gone = gone[np.lexsort((passage[gone], row[gone]))]
    edited = operator.edit(batch.column("text"), row[gone], passage[gone])
    return [None if empty else text for text, empty in zip(edited.texts.to_pylist(), edited.emptied, strict=True)]


def pages(*texts: str | None, **columns: list[object]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())} | columns)


def test_the_first_occurrence_stays():
    """Later copies of a line go, within a document too, and whatever white space is around and inside them."""
    batch = pages(f"{MENU}\nOne.", f"  Home |  About us | Contact\t| Imprint \r\nTwo.\n{MENU}", None, MENU)
    assert deduplicated(LineDedup(), batch) == [f"{MENU}\nOne.", "Two.", None, None]


def test_a_document_without_text_is_not_dropped_as_empty():
    """A null or an empty text of which nothing was cut stays as it is."""
    operator = LineDedup()
    edited = operator.edit(pa.array([None, "", MENU], pa.large_string()), np.array([2]), np.array([0], np.int32))
    assert edited.emptied.tolist() == [False, False, True]


def test_boilerplate_goes_altogether_and_by_frequency():
    """With `keep: none` a line that enough documents have goes from all, one that fewer have from none."""
    batch = pages(f"{MENU}\n1\n{FOOTER}", f"{MENU}\n2\n{FOOTER}", f"{MENU}\n3", f"{MENU}\n{MENU}")
    operator = LineDedup(keep="none", min_documents=3)
    assert deduplicated(operator, batch) == [f"1\n{FOOTER}", f"2\n{FOOTER}", "3", None]


def test_a_document_counts_once():
    """A refrain repeats in one document only: it is none that other documents have."""
    song = f"{FOOTER}\nA verse.\n{FOOTER}"
    assert deduplicated(LineDedup(), pages(song, "Something else.")) == [song, "Something else."]
    assert deduplicated(LineDedup(min_documents=1), pages(song)) == [f"{FOOTER}\nA verse."]


def test_short_lines_stay():
    """What repeats by chance is not touched, unless it is asked for."""
    batch = pages("}\nfoo();", "}\nbar();")
    assert deduplicated(LineDedup(), batch) == ["}\nfoo();", "}\nbar();"]
    assert deduplicated(LineDedup(min_chars=1), batch) == ["}\nfoo();", "bar();"]


def test_paragraphs_are_compared_as_wholes():
    """A paragraph goes if all of it is known; one that shares a line with another does not."""
    first, second = f"{MENU}\n{FOOTER}", f"{MENU}\nNot the same footer."
    batch = pages(f"{first}\n\n{second}", f"{second}\n\nNew.\n\n{first}\n", f"{FOOTER}\n{MENU}")
    assert deduplicated(ParagraphDedup(), batch) == [f"{first}\n\n{second}", "New.\n", f"{FOOTER}\n{MENU}"]


def test_each_host_is_counted_by_itself():
    """A line on two pages of one site goes, one on two sites stays, and documents without a URL are left alone."""
    urls = ["https://www.a.example/1", "http://A.example:80/2", "http://b.example/", "http://sub.a.example", None, None, "none"]
    left = deduplicated(LineDedup(per_domain=True), pages(*[f"{MENU}\n{number}" for number in range(7)], url=urls))
    assert [number for number, text in enumerate(left) if text == str(number)] == [1]
    assert all(MENU in (text or "") for number, text in enumerate(left) if number != 1)


def test_within_counts_by_columns():
    """Equal lines in different dumps are not compared."""
    batch = pages(*[f"{MENU}\n{number}" for number in range(4)], dump=["x", "y", "x", None])
    assert deduplicated(LineDedup(within=["dump"]), batch) == [f"{MENU}\n0", f"{MENU}\n1", "2", f"{MENU}\n3"]


def test_documents_that_are_left_too_short_go():
    """A document that was cut goes below the least number of characters; one that was short before stays."""
    batch = pages(MENU, f"{MENU}\n\nabc ", f"{MENU}\nabcd", "x")
    assert deduplicated(LineDedup(min_remaining_chars=4), batch) == [MENU, None, "abcd", "x"]


@pytest.mark.parametrize("cls", [LineDedup, ParagraphDedup])
def test_what_is_wrong_is_said(cls):
    """Settings under which nothing could stay, columns that are absent or cannot be compared, questions about documents."""
    with pytest.raises(ValidationError, match=r"raise min_documents, or keep 'first'"):
        cls(keep="none", min_documents=1)
    with pytest.raises(ValidationError, match="more than once"):
        cls(within=["a", "a"])
    batch = pages("a", tags=[["x"]], number=[1])
    for wrong, message in [
        ({"within": ["tag"]}, "did you mean 'tags'"),
        ({"within": ["tags"]}, "plain values"),
        ({"per_domain": True}, "no column 'url'"),
        ({"per_domain": True, "url_column": "number"}, "'number' is int64"),
    ]:
        with pytest.raises(OperatorError, match=message):
            cls(**wrong).open(ASSETS)(batch)
    with pytest.raises(OperatorError, match="decide_passages"):
        cls().decide(batch)


@pytest.mark.parametrize("cls", [LineDedup, ParagraphDedup])
def test_doing_it_twice_changes_nothing_on_real_documents(cls):
    """Of real pages each passage is left once, and the survivors are as they were in what stays."""
    batch = real_documents("web-thirdparty-00001", "neardup-00001", limit=150)
    left = deduplicated(cls(), batch)
    assert sum(text != before for text, before in zip(left, batch.column("text").to_pylist(), strict=True)) > 10
    kept = [text for text in left if text is not None]
    again = deduplicated(cls(), pages(*kept))
    assert again == kept
