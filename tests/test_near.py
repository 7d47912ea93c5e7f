"""Near-duplicates: what the exchange says of every document is what the rule says in plain Python, whatever path the work takes."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import config_of, finished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from near_made import DEFAULT, Exchange, Rule, doc_key

from operators.minhash import MinhashDedup
from pipelines.exchange import Limits

WORDS = ("stone", "river", "cloud", "bread", "Wörter", "文", "7", "tree", "song", "light", "glass", "road")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("dump", pa.string()),
        ("score", pa.float64()),
        ("day", pa.date32()),
        ("lang", pa.string()),
    ]
)
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"keep": "longest"},
    {"keep": "highest", "by": "score"},
    {"keep": "lowest", "by": "lang"},
    {"keep": "newest", "by": "day"},
    {"keep": "priority", "by": "lang", "priority": ["de", "en"]},
)
BASES = tuple(tuple(WORDS[(base * 5 + at * (base + 1) + at * at // 3) % len(WORDS)] for at in range(24)) for base in range(3))


def text(draw: random.Random) -> str:
    """A base, mostly, with few words changed or cut off; or nothing, or what is too short for a shingle."""
    if draw.random() < 0.1:
        return draw.choice(["", " \n ", "...", "stone", "stone river", "文"])
    words = list(draw.choice(BASES))
    for _ in range(draw.choice((0, 0, 1, 2, 4, 8))):
        words[draw.randrange(24)] = draw.choice(WORDS)
    return " ".join(words[: draw.choice((24, 24, 24, 23, 20, 12))])


def corpus(size: int, num_files: int, seed: int, *, ids: bool = True) -> list[pa.RecordBatch]:
    """Documents in several files, with ids or without. Numbers alone decide, as Hypothesis by itself makes few large corpora."""
    draw = random.Random(seed)
    rows = [
        {
            "id": f"d{number}",
            "text": text(draw),
            "dump": draw.choice(["a", "b", None]),
            "score": draw.choice([None, 0.5, 1.0, float("nan")]),
            "day": draw.choice([None, date(2024, 1, 1), date(2024, 2, 1)]),
            "lang": draw.choice([None, "de", "en", "fr"]),
        }
        for number in range(size)
    ]
    cuts = sorted(draw.randrange(size + 1) for _ in range(num_files - 1))
    schema = SCHEMA if ids else SCHEMA.remove(0)
    return [pa.RecordBatch.from_pylist(rows[start:stop], schema=schema) for start, stop in pairwise([0, *cuts, size])]


corpora = st.builds(corpus, st.integers(1, 70), st.integers(1, 4), st.integers(0, 2**32), ids=st.booleans())


@st.composite
def operators(draw: st.DrawFn) -> MinhashDedup:
    """Few bands that much meets in and many that little does, every policy, both ways to verify."""
    bands, rows = draw(st.sampled_from([(14, 8), (20, 1), (6, 2), (1, 1)]))
    return MinhashDedup(
        name="near",
        bands=bands,
        rows=rows,
        shingle_size=draw(st.sampled_from([1, 2, 5])),
        threshold=draw(st.sampled_from([0.2, 0.5, 0.75, 1.0])),
        verify=draw(st.sampled_from(["estimate", "exact"])),
        max_candidates=draw(st.integers(1, 8)),
        within=draw(st.sampled_from([[], [], ["dump"], ["dump", "lang"]])),
        num_duplicates=draw(st.sampled_from([None, "copies"])),
        **draw(st.sampled_from(POLICIES)),
    )


LIMITS = [Limits(1 << bits, 1 << (bits - 2), units) for bits, units in ((10, 1), (11, 2), (13, 3), (15, 9))]
"""Bounds that a few documents burst, at different steps."""


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(corpora, operators(), st.integers(3, 30), st.integers(1, 12), st.sampled_from(LIMITS))
def test_any_corpus_is_decided_as_the_rule_says(files, operator, unit_rows, frame_rows, limits):
    """Who goes, for whom, how similar, and for how many a kept one stands: at once, in bounded tasks, however units are cut."""
    rule = Rule.of(operator, files)
    wanted = rule.verdicts(operator, files)
    assert Exchange(operator).verdicts(files, unit_rows=100, frame_rows=100) == wanted
    found = Exchange(operator, limits).verdicts(files, unit_rows, frame_rows)
    assert found == wanted
    gone = {document for document, verdict in found.items() if verdict[0] is not None}
    assert all(gone & set(pair) for pair in rule.verified)


@pytest.mark.parametrize("verify", ["estimate", "exact"])
def test_of_a_chain_every_second_stays(verify):
    """Neighbours are alike, others are not: each goes for the kept one before it, and nothing goes through one that is gone."""
    words = [f"word{number}" for number in range(100)]
    texts = [" ".join(words[start : start + 30]) for start in range(0, 60, 6)]
    operator = MinhashDedup(name="near", bands=32, rows=2, shingle_size=1, threshold=0.55, verify=verify)
    files = [pa.RecordBatch.from_pydict({"text": texts})]
    for limits in (DEFAULT, *LIMITS):
        found = Exchange(operator, limits).verdicts(files)
        assert {row: doc_key((0, row - 1)) for row in range(1, 10, 2)} == {row: verdict[0] for (_, row), verdict in found.items()}


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("policy", POLICIES[:4], ids=str)
@pytest.mark.parametrize("limits", [DEFAULT, LIMITS[2]], ids=["at once", "bounded"])
def test_a_run_leaves_what_the_rule_says(tmp_path, policy, limits):
    """The side table names pairs and counts, the column the copies of those that stay, and all others are as they were."""
    files = corpus(60, 3, 8)
    for number, batch in enumerate(files):
        pq.write_table(pa.table(batch), tmp_path / f"in-{number}.parquet", row_group_size=9)
    chosen = {"shingle_size": 2, "bands": 20, "rows": 1, "threshold": 0.5, "within": ["dump"], "num_duplicates": "copies", **policy}
    operators = [{"type": "minhash_dedup", **chosen}]
    config = config_of(tmp_path / "p.yaml", f"{tmp_path}/*.parquet", tmp_path / "out", operators, execution={"unit_bytes": "4KiB"})
    found = finished(config, limits)
    uris = pq.read_table(next((tmp_path / "out" / "_shardmill" / "inventories").glob("*.parquet")))["uri"].to_pylist()
    rule = Rule.of(MinhashDedup(**chosen), files, uris)
    names = {(file, row): name for file, batch in enumerate(files) for row, name in enumerate(batch.column("id").to_pylist())}
    number = Counter(rule.removed.values())
    wanted = {names[gone]: (names[kept], rule.verified[gone, kept], number[kept]) for gone, kept in rule.removed.items()}
    assert {row["id"]: (row["kept_id"], row["similarity"], row["num_duplicates"]) for row in found.table("duplicates")} == wanted
    stays = [place for place in names if place not in rule.removed]
    assert [(row["id"], row["copies"]) for row in found.rows()] == [(names[place], number[place]) for place in stays]
    assert len(wanted) > 10
