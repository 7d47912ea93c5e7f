"""Tokens by source and language: what a run counts is what the documents say, however they are cut, and nothing else is published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import made
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Output, config_of, finished, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from made import rewrite_manifest

from pipelines import token_counts
from pipelines.errors import InputError, LedgerImbalance
from pipelines.rows import UnitFiles
from pipelines.storage import open_store
from pipelines.token_counts import Names, TokenCounts, TokenTotals, prove_tokens
from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("lang", pa.string()),
        ("site", pa.int32()),
        ("num_tokens", pa.int32()),
    ]
)
SMALL = {"unit_bytes": "1KiB", "batch_bytes": "1KiB"}
KEEP_EVEN = {"type": "filter_where", "where": "num_tokens != 7"}


def rows(number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Documents of a few sources, languages and sites, some of which are null."""
    return [
        {
            "id": f"d{seed}-{at}",
            "text": f"text {seed} {at}",
            "source": [None, "web", "books", "码"][(at * 7 + seed) % 4],
            "lang": ["en", "de", None][at % 3],
            "site": at % 11,
            "num_tokens": at % 13,
        }
        for at in range(number)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two folders of files with token counts, without any operator to make them."""
    for number in range(4):
        write_parquet(tmp_path / "in" / f"part{number % 2}" / f"f{number}.parquet", rows(60, number), 20, SCHEMA)
    return tmp_path / "in"


def ran(corpus: Path, name: str = "out", operators: Any = (KEEP_EVEN,), execution: Any = SMALL, **output: Any) -> Output:
    """A finished run of the corpus, its ledger and its verification proven."""
    folder = corpus.parent
    return finished(config_of(folder / f"{name}.yaml", f"{corpus}/", folder / name, operators, execution=execution, output=output))


def counted(documents: list[dict[str, Any]], column: str) -> dict[str, dict[str, int]]:
    """What must be told of documents by a column."""
    number, tokens = Counter[str](), Counter[str]()
    for row in documents:
        name = "(null)" if row[column] is None else str(row[column])
        number[name] += 1
        tokens[name] += row["num_tokens"]
    return {name: {"documents": number[name], "tokens": tokens[name]} for name in sorted(number)}


KEPT = [row for seed in range(4) for row in rows(60, seed) if row["num_tokens"] != 7]
TOTAL = sum(row["num_tokens"] for row in KEPT)


def test_the_manifest_tells_tokens_by_source_and_language(corpus):
    """Every token of the output is told by the usual columns, and the sums are those of the shards."""
    found = ran(corpus)
    tokens = found.manifest["tokens"]
    assert tokens == {
        "total": TOTAL,
        "source_column": "source",
        "language_column": "lang",
        "by_source": counted(KEPT, "source"),
        "by_language": counted(KEPT, "lang"),
    }
    assert list(tokens["by_source"]) == sorted(tokens["by_source"])
    assert found.manifest["output"]["tokens"] == TOTAL
    assert sum(pq.read_table(found.folder / "shards.parquet")["num_tokens"].to_pylist()) == TOTAL


def test_columns_can_be_chosen_and_need_not_be_written(corpus):
    """Any column of the documents names sources and languages, though the output does not hold it."""
    found = ran(corpus, source_column="site", language_column="source", columns=["id", "num_tokens"])
    assert found.manifest["tokens"]["by_source"] == counted(KEPT, "site")
    assert found.manifest["tokens"]["by_language"] == counted(KEPT, "source")
    assert found.manifest["tokens"]["source_column"] == "site"


def test_without_columns_the_source_is_the_folder_and_languages_are_not_told(tmp_path):
    """Documents without a column that names anything are counted by the folder that they come from; a column of lists names nothing."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("source", pa.list_(pa.string())), ("num_tokens", pa.uint16())])
    for name in ("a", "b"):
        documents = [{"id": str(at), "text": "x", "source": ["web"], "num_tokens": 2} for at in range(5)]
        write_parquet(tmp_path / "in" / name / "f.parquet", documents, 2, schema)
    tokens = ran(tmp_path / "in", operators=()).manifest["tokens"]
    assert tokens["by_source"] == {f"{tmp_path}/in/{name}": {"documents": 5, "tokens": 10} for name in "ab"}
    assert (tokens["by_language"], tokens["source_column"], tokens["language_column"]) == (None, None, None)


@pytest.mark.parametrize(
    ("limits", "output"),
    [
        ({}, {}),
        ({"MAX_INLINE": 0}, {}),
        ({"MAX_INLINE": 3}, {"partition_by": ["lang"]}),
        ({"MAX_TOLD": 3, "FEW": 1}, {"source_column": "site"}),
        ({"MAX_COUNTED": 6, "FEW": 0}, {"source_column": "site"}),
        ({"MAX_COUNTED": 6, "MAX_INLINE": 0}, {"source_column": "site"}),
    ],
)
def test_what_is_told_does_not_depend_on_units_and_batches(corpus, monkeypatch, limits, output):
    """One unit or dozens, names in records or in parts, after a group operator or without one: the manifest says the same."""
    for name, value in limits.items():
        monkeypatch.setattr(token_counts, name, value)
    grouped = ({"type": "exact_dedup"}, KEEP_EVEN)
    told = [
        ran(corpus, f"out{number}", operators, execution, **output).manifest["tokens"]
        for number, (operators, execution) in enumerate([((KEEP_EVEN,), SMALL), ((KEEP_EVEN,), {}), (grouped, SMALL), (grouped, {})])
    ]
    assert told[0]["total"] == TOTAL
    assert all(one == told[0] for one in told)


def test_of_many_names_the_largest_are_told_and_the_rest_is_summed_up(corpus, monkeypatch):
    """By tokens, equal ones by name; a null and a shortened name are names like others."""
    monkeypatch.setattr(token_counts, "MAX_TOLD", 4)
    whole = counted(KEPT, "site")
    largest = sorted(whole, key=lambda name: (-whole[name]["tokens"], name))[:4]
    told = ran(corpus, source_column="site").manifest["tokens"]["by_source"]
    assert sorted([*largest, "(other)"]) == list(told)
    assert {name: told[name] for name in largest} == {name: whole[name] for name in largest}
    assert sum(entry["tokens"] for entry in told.values()) == TOTAL
    monkeypatch.setattr(token_counts, "MAX_COUNTED", 10)
    told = ran(corpus, "more", source_column="site").manifest["tokens"]["by_source"]
    assert told == {"(other)": {"documents": len(KEPT), "tokens": TOTAL}}


def test_long_names_are_shortened_and_stay_apart(tmp_path):
    """Names with the same long beginning are told apart, and verification knows them."""
    names = ["x" * 500 + end for end in "ab"] + ["y" * 200, "two\nlines", ""]
    documents = [{**row, "source": names[at % 5]} for at, row in enumerate(rows(20))]
    write_parquet(tmp_path / "in" / "f.parquet", documents, 5, SCHEMA)
    told = ran(tmp_path / "in", operators=()).manifest["tokens"]["by_source"]
    assert len(told) == 5
    assert {len(name) for name in told if name.startswith("x")} == {200}
    assert {"y" * 200, "two\nlines", ""} <= {*told}


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"source_column": "sorce"}, "output.source_column: the documents have no column 'sorce'; they have: id, text, source, lang"),
        ({"language_column": "tags"}, "output.language_column: the column 'tags' is list<"),
    ],
)
def test_a_column_that_names_nothing_is_refused_before_any_unit_runs(tmp_path, output, words):
    """One that is not there, or holds lists, stops the run with its setting and what there is; nothing is committed."""
    schema = SCHEMA.append(pa.field("tags", pa.list_(pa.string())))
    write_parquet(tmp_path / "in" / "f.parquet", [{**row, "tags": []} for row in rows(5)], 5, schema)
    with pytest.raises(InputError) as caught:
        ran(tmp_path / "in", **output)
    assert words in caught.value.message
    assert not list((tmp_path / "out").rglob("*.json"))


def test_another_column_makes_another_version_of_the_same_documents(corpus):
    """The counts of the version before are not taken over; the documents are the same, and stages before the last are not run again."""
    operators, execution = ({"type": "exact_dedup"}, KEEP_EVEN), {**SMALL, "keep_intermediates": "latest"}
    first = ran(corpus, operators=operators, execution=execution)
    second = ran(corpus, operators=operators, execution=execution, source_column="site")
    assert (first.manifest["version"], second.manifest["version"]) == ("v1", "v2")
    assert second.manifest["tokens"]["by_source"] == counted(KEPT, "site")
    assert first.texts() == second.texts()
    stages = {path.parts[-5] for path in (corpus.parent / "out" / "_shardmill" / "stages").glob("*/e0/records/*/*.json")}
    assert len([name for name in stages if not name.startswith("pack")]) == 3


def test_documents_without_token_counts_have_none_told(corpus):
    """Where the output has no integer `num_tokens`, the manifest says null, and neither report nor card has a section of tokens."""
    found = ran(corpus, columns=["id", "text"])
    assert found.manifest["tokens"] is None
    assert 'id="tokens"' not in (found.folder / "report.html").read_text()
    assert "## Tokens" not in (found.root / "README.md").read_text()


def test_report_and_card_show_the_tokens(corpus):
    """Both have a table of sources and one of languages."""
    found = ran(corpus)
    page, text = (found.folder / "report.html").read_text(), (found.root / "README.md").read_text()
    for name, told in found.manifest["tokens"]["by_source"].items():
        assert name in page
        assert f"| `{name}` | {told['documents']} | {told['tokens']} |" in text
    assert "language (column `lang`)" in text


def test_a_run_whose_counts_do_not_balance_publishes_nothing(corpus, monkeypatch):
    """Units that count a token too many are found by what the shards hold."""
    right = TokenCounts.told
    monkeypatch.setattr(TokenCounts, "told", lambda *given: {**right(*given), "num_tokens": 1})
    with pytest.raises(LedgerImbalance, match="its units counted 12 tokens, the shards hold"):
        ran(corpus, execution={"unit_bytes": "1KiB"})
    assert not (corpus.parent / "out" / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["source", "language"])
def test_names_that_do_not_add_up_are_an_imbalance(kind):
    """The proof of the run looks at documents and tokens of both kinds."""
    entry = {"a": {"documents": 2, "tokens": 5}}
    good = {"total": 5, "by_source": entry, "by_language": entry}
    prove_tokens(good, documents=2, tokens=5)
    prove_tokens({**good, "by_language": None}, documents=2, tokens=5)
    for wrong in ({"documents": 1, "tokens": 5}, {"documents": 2, "tokens": 4}):
        with pytest.raises(LedgerImbalance, match=f"by {kind} add up to"):
            prove_tokens({**good, f"by_{kind}": {"a": wrong}}, documents=2, tokens=5)


@given(st.lists(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9), st.integers(0, 2**40))), max_size=8), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_names_are_added_up_however_they_come(tables, few):
    """Tables of names, repeated or not, sum up to what a dictionary would hold."""
    expected: dict[str, list[int]] = {}
    names = Names()
    before, token_counts.FEW = token_counts.FEW, few
    try:
        for table in tables:
            names.add(token_counts._names_table(table))
            for name, documents, tokens in table:
                entry = expected.setdefault(name, [0, 0])
                entry[0] += documents
                entry[1] += tokens
        assert [list(row.values()) for row in names.table().to_pylist()] == [[name, *expected[name]] for name in sorted(expected)]
    finally:
        token_counts.FEW = before


def test_records_stay_small_whatever_the_names_are():
    """A unit of a million sources tells in its record that they are too many, and nothing of them."""
    counts = TokenCounts(token_counts.TokenColumns("source", None), UnitFiles([], None))
    for start in range(0, 120_000, 20_000):
        batch = pa.record_batch({"source": [f"s{at}" for at in range(start, start + 20_000)], "num_tokens": [1] * 20_000})
        counts.add(token_counts.Rows(batch, None, None))  # type: ignore[arg-type]
    told = counts.told(None)  # type: ignore[arg-type]
    assert told == {"documents": 120_000, "num_tokens": 120_000, "too_many": ["source"], "source": []}
    totals = TokenTotals()
    totals.add(told)
    assert totals.to_json(token_counts.TokenColumns("source", None))["by_source"] == {"(other)": {"documents": 120_000, "tokens": 120_000}}


# --- verification


def lie(found: Output, edit: Any) -> list[tuple[str, str]]:
    """What `verify` finds when the manifest says something else of tokens."""
    store = open_store(str(found.root))
    rewrite_manifest(store, lambda manifest: edit(manifest["tokens"]))
    return [(check.name, check.message) for check in verify(str(found.root)).checks if not check.ok]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda told: told.update(total=TOTAL + 1), [f"tokens.total is {TOTAL + 1}, but output.tokens is {TOTAL}"]),
        (lambda told: told["by_source"].pop("web"), ["tokens.by_source: the documents add up to", "the tokens add up to"]),
        (
            lambda told: told["by_language"].update(en=told["by_language"]["de"], de=told["by_language"]["en"]),
            ["tokens.by_language.de is", "tokens.by_language.en is"],
        ),
        (
            lambda told: told["by_source"].update({"wab": told["by_source"].pop("web")}),
            ["tokens.by_source.wab is", "(other) is 0 documents"],
        ),
        (lambda told: told.update(source_column="site"), ["tokens.by_source.(null) is", "tokens.by_source.(other) is"]),
        (lambda told: told.update(by_source=None), ["tokens.by_source: found 'None', expected an object"]),
        (lambda told: told["by_source"]["web"].update(tokens="1"), ["tokens.by_source.web.tokens: found '1'"]),
    ],
)
def test_counts_that_the_shards_do_not_have_are_found(corpus, edit, words):
    """Each name is counted again from the column that is in the shards, and every lie is told with its name."""
    failed = lie(ran(corpus), edit)
    messages = [message for _, message in failed]
    assert {name for name, _ in failed} <= {"tokens", "manifest"}
    for word in words:
        assert any(word in message for message in messages), failed


def test_a_count_that_is_not_that_of_the_ids_is_found(tmp_path):
    """Two documents whose counts are exchanged add up, and are told with their rows."""

    class Exchanged(made.Output):
        def shard_files(self) -> dict[str, bytes]:
            files = super().shard_files()
            path = next(iter(files))
            table = pq.read_table(pa.BufferReader(files[path]))
            counts = table["num_tokens"].to_pylist()
            changed = table.set_column(3, "num_tokens", pa.array([counts[1], counts[0], *counts[2:]], pa.int64()))
            return {**files, path: made.parquet(changed)}

    Exchanged().write(open_store(str(tmp_path)))
    failed = [check for check in verify(str(tmp_path)).checks if not check.ok]
    assert [(check.name, check.message) for check in failed] == [
        ("tokens", "row 0: num_tokens is 5, but it has 1 input_ids"),
        ("tokens", "row 1: num_tokens is 1, but it has 5 input_ids"),
    ]
    assert failed[0].subject.startswith("data/v1/part-00000")


def test_a_name_of_a_column_that_is_not_written_is_only_summed(corpus):
    """Of a column that the shards lack, verification says that it looked at sums alone."""
    found = ran(corpus, columns=["id", "lang", "num_tokens"])
    told = [check.message for check in verify(str(found.root)).checks if check.name == "tokens"]
    assert told == [f"{TOTAL} tokens, counted again by language"]


def test_verify_counts_as_runs_do_when_names_are_many(corpus, monkeypatch):
    """The names that are summed up are summed up again."""
    monkeypatch.setattr(token_counts, "MAX_TOLD", 3)
    found = ran(corpus, source_column="site")
    assert lie(found, lambda told: told["by_source"]["(other)"].update(documents=0)) != []


def test_no_manifest_without_counts_passes_as_one_with_them(corpus):
    """Null in place of the counts is found where there are tokens; a version of an older build lacks the key, which is told, not blamed."""
    found = ran(corpus)
    store = open_store(str(found.root))
    rewrite_manifest(store, lambda manifest: manifest.update(tokens=None))
    assert [check.message for check in verify(str(found.root)).checks if not check.ok] == [
        f"tokens is null, but output.tokens is {TOTAL}; restore the manifest from a copy"
    ]
    rewrite_manifest(store, lambda manifest: manifest.pop("tokens") and None)
    checks = {check.name: check for check in verify(str(found.root)).checks}
    assert checks["tokens"].ok
    assert not checks["tokens"].checked
