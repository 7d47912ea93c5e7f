"""The profile of documents: what a run tells of lengths and languages is what the texts say, however they are cut; nothing else passes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import Output, config_of, finished, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from made import rewrite_manifest

from pipelines import document_profile, profile_counts, verify_file
from pipelines.card import card
from pipelines.document_profile import Profile, ProfileColumns, profile_of, prove_profile
from pipelines.errors import LedgerImbalance
from pipelines.hashedfile import HashedFile
from pipelines.profile_tables import profile_sentence, profile_tables
from pipelines.report import report
from pipelines.storage import open_store
from pipelines.storage_local import LocalStore
from pipelines.verify import verify
from pipelines.verify_profile import ProfileColumns as ProfileColumnsOfVerify

pytestmark = pytest.mark.usefixtures("no_fsync")

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("lang", pa.string()), ("site", pa.int32()), ("score", pa.float64())])
SMALL = {"unit_bytes": "1KiB", "batch_bytes": "1KiB"}
WORDS = ("", "x", "ab", "häuser", "河流", "a longer text of some words. ")
Document = dict[str, Any]
Row = tuple[str | None, str | None]


def rows(number: int, seed: int = 0) -> list[Document]:
    """Documents of many lengths, some empty, in a few languages, some of which are null."""
    return [
        {
            "id": f"d{seed}-{at}",
            "text": WORDS[(at + seed) % len(WORDS)] * (1 + at * at % 37),
            "lang": ["en", "de", None, "zh/TW", "(null)"][at % 5],
            "site": at % 11,
            "score": at / 7,
        }
        for at in range(number)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A few files of documents."""
    for number in range(4):
        write_parquet(tmp_path / "in" / f"f{number}.parquet", rows(60, number), 20, SCHEMA)
    return tmp_path / "in"


KEEP = {"type": "filter_where", "where": "site != 7"}
KEPT = [row for seed in range(4) for row in rows(60, seed) if row["site"] != 7]


def ran(corpus: Path, name: str = "out", operators: Any = (KEEP,), execution: Any = SMALL, **output: Any) -> Output:
    """A finished run of the corpus, its ledger and its verification proven."""
    folder = corpus.parent
    return finished(config_of(folder / f"{name}.yaml", f"{corpus}/", folder / name, operators, execution=execution, output=output))


def plain(documents: Sequence[Document], text: str = "text", language: str | None = "lang") -> dict[str, Any]:
    """What must be told of documents, by the rules alone."""
    lengths: dict[int, list[int]] = {}
    languages: dict[str, list[int]] = {}
    nulls = 0
    for row in documents:
        size = len((row[text] or "").encode())
        if row[text] is None:
            nulls += 1
        else:
            lengths.setdefault(size.bit_length(), []).append(size)
        if language is not None:
            languages.setdefault("(null)" if row[language] is None else str(row[language]), []).append(size)
    return {
        "text_column": text,
        "language_column": language,
        "text_bytes": sum(map(sum, lengths.values())),
        "null_texts": nulls,
        "lengths": [
            {"from_bytes": 2**bits // 2, "below_bytes": 2**bits, "documents": len(sizes), "text_bytes": sum(sizes)}
            for bits, sizes in sorted(lengths.items())
        ],
        "by_language": None
        if language is None
        else {name: {"documents": len(sizes), "text_bytes": sum(sizes)} for name, sizes in sorted(languages.items())},
    }


def batch_of(documents: Sequence[Row], kind: pa.DataType | None = None) -> pa.RecordBatch:
    """Texts with their languages."""
    texts, languages = [text for text, _ in documents], [language for _, language in documents]
    return pa.record_batch({"text": pa.array(texts, kind or pa.large_string()), "lang": pa.array(languages, pa.string())})


def told_of(documents: Sequence[Row]) -> dict[str, Any]:
    """What must be told of texts with their languages."""
    return plain([{"text": text, "lang": language} for text, language in documents])


# --- the profile itself

TEXTS = st.one_of(
    st.none(), st.text(max_size=40), st.integers(0, 70).map("é".__mul__), st.sampled_from([1, 2, 3, 4, 1023, 1024]).map("x".__mul__)
)
ROWS = st.lists(st.tuples(TEXTS, st.one_of(st.none(), st.sampled_from(["en", "de", "", "(null)", "(other)", "zh/TW"]))), max_size=30)


@given(ROWS, ROWS, st.integers(0, 30), st.sampled_from([pa.string(), pa.large_string()]))
@settings(max_examples=150, deadline=None)
def test_a_profile_is_what_counting_one_by_one_gives(first, second, cut, kind):
    """Of any documents, also in slices; added up it is the profile of all, and taken out leaves that of the rest."""
    one, other = (profile_of(batch_of(documents, kind), "text", "lang") for documents in (first, second))
    assert one.to_json() == told_of(first)
    assert (one.documents, one.text_bytes) == (len(first), told_of(first)["text_bytes"])
    whole = one + other
    assert whole.to_json() == told_of(first + second)
    assert (whole - one).to_json() == other.to_json()
    assert one.to_json() == told_of(first)  # adding changed neither
    pieces = batch_of(first + second, kind)
    sliced = profile_of(pieces.slice(0, cut), "text", "lang") + profile_of(pieces.slice(cut), "text", "lang")
    assert sliced.to_json() == whole.to_json()
    again = Profile.from_json(whole.to_json())
    assert again.to_json() == whole.to_json()
    assert (again - other).to_json()["lengths"] == one.to_json()["lengths"]


def test_the_classes_are_powers_of_two_up_to_the_largest_text():
    """A text of 2**n - 1 bytes is in the class below that of 2**n, also at 16 MiB."""
    sizes = [0, *(2**power + more for power in range(25) for more in (-1, 0))]
    buffers = [None, pa.py_buffer(np.cumsum([0, *sizes], dtype=np.int64)), pa.py_buffer(b"x" * sum(sizes))]
    texts = pa.Array.from_buffers(pa.large_string(), len(sizes), buffers)
    told = profile_of(pa.record_batch({"text": texts}), "text", None).to_json()
    for entry in told["lengths"]:
        mine = [size for size in sizes if entry["from_bytes"] <= size < entry["below_bytes"]]
        assert (entry["documents"], entry["text_bytes"]) == (len(mine), sum(mine))
    assert sum(entry["documents"] for entry in told["lengths"]) == len(sizes)
    assert [entry["from_bytes"] for entry in told["lengths"]] == [0, *(2**power for power in range(25))]


def test_more_than_there_is_cannot_be_taken_out():
    """The class, or the language, is named."""
    one = profile_of(batch_of([("ab", "en"), ("cd", "de")]), "text", "lang")
    with pytest.raises(LedgerImbalance, match=r"leaves -1 .* of '4 bytes and more, below 8'"):
        _ = one - profile_of(batch_of([("abcd", "en")]), "text", "lang")
    with pytest.raises(LedgerImbalance, match=r"leaves -1 \(-2 bytes\) of 'fr'"):
        _ = one - profile_of(batch_of([("ab", "fr")]), "text", "lang")


def test_documents_without_their_language_leave_no_languages():
    """What is taken out of documents whose language is unknown leaves lengths alone."""
    both = [("ab", "en"), ("c", "de")]
    left = profile_of(batch_of(both), "text", "lang") - profile_of(batch_of(both[1:]), "text", None)
    assert left.to_json() == plain([{"text": "ab"}], language=None)


@given(st.lists(ROWS, min_size=1, max_size=6), st.integers(0, 4), st.randoms())
@settings(max_examples=100, deadline=None)
def test_too_many_languages_are_none_in_whatever_order_they_come(parts, most, draw):
    """Whether they are too many depends on all documents: names are told, or one sum, however the parts are added."""
    before = document_profile.MAX_COUNTED
    document_profile.MAX_COUNTED = most  # type: ignore[misc]
    try:
        everything = [row for part in parts for row in part]
        expected = told_of(everything)
        if len(expected["by_language"]) > most:
            expected["by_language"] = {"(other)": {"documents": len(everything), "text_bytes": expected["text_bytes"]}}
        for _ in range(2):
            found = Profile.empty(ProfileColumns("text", "lang"))
            for part in parts:
                found.add(profile_of(batch_of(part), "text", "lang"))
            assert found.to_json() == expected
            draw.shuffle(parts)
    finally:
        document_profile.MAX_COUNTED = before  # type: ignore[misc]


def test_what_leaves_a_profile_that_was_told_leaves_its_other_languages(monkeypatch):
    """A language that a manifest sums up is taken out of the sum; no name is told that was not."""
    monkeypatch.setattr(document_profile, "MAX_TOLD", 2)
    everything = [("aaaa", "en"), ("bbb", "de"), ("cc", "fr"), ("d", "it")]
    told = Profile.from_json(profile_of(batch_of(everything), "text", "lang").to_json())
    left = (told - profile_of(batch_of(everything[2:3]), "text", "lang")).to_json()
    assert left["by_language"] == {
        "(other)": {"documents": 1, "text_bytes": 1},
        "de": {"documents": 1, "text_bytes": 3},
        "en": {"documents": 1, "text_bytes": 4},
    }
    assert left["lengths"] == told_of([*everything[:2], everything[3]])["lengths"]
    taken = profile_of(batch_of(everything[2:3]), "text", "lang")
    assert (Profile.from_json(left) + taken).to_json() == (taken + Profile.from_json(left)).to_json() == told.to_json()


# --- of a run


def test_the_manifest_tells_lengths_and_languages(corpus):
    """Every document of the output is told, and the sums are those of the ledger."""
    found = ran(corpus)
    assert found.manifest["documents"] == plain(KEPT)
    assert sum(entry["documents"] for entry in found.manifest["documents"]["lengths"]) == found.manifest["ledger"]["rows_out"]
    assert list(found.manifest["documents"]["by_language"]) == sorted(found.manifest["documents"]["by_language"])


def test_the_text_that_is_written_counts(corpus):
    """What operators make of a text is measured, not what was read."""
    found = ran(corpus, operators=({"type": "line_dedup", "min_documents": 2}, {"type": "normalize_text", "collapse_spaces": True}))
    assert found.manifest["documents"] == plain(found.rows())
    assert found.manifest["documents"]["text_bytes"] < sum(len(row["text"].encode()) for seed in range(4) for row in rows(60, seed))


def test_the_language_column_can_be_chosen_and_need_not_be_written(corpus):
    """Any column of the documents names languages; of one that the shards lack, verification counts the sums alone."""
    found = ran(corpus, language_column="site", columns=["id", "text"])
    assert found.manifest["documents"] == plain(KEPT, language="site")
    told = {check.name: check.message for check in verify(str(found.root)).checks}
    assert told["documents"] == f"{plain(KEPT)['text_bytes']} bytes of text, counted again by length"
    found = ran(corpus, "more", language_column="site")
    told = {check.name: check.message for check in verify(str(found.root)).checks}
    assert told["documents"].endswith("counted again by length and language")


def test_an_output_without_texts_has_no_profile(corpus):
    """Null in the manifest, and nothing in report and card."""
    found = ran(corpus, columns=["id", "lang"])
    assert found.manifest["documents"] is None
    assert "Lengths and languages" not in (found.folder / "report.html").read_text() + (found.root / "README.md").read_text()
    assert {check.name: check.message for check in verify(str(found.root)).checks}["documents"] == "the documents are without their text"


def test_no_document_is_no_class(corpus):
    """An output without a row tells empty lists."""
    found = ran(corpus, operators=({"type": "filter_where", "where": "site > 100"},))
    assert found.manifest["documents"] == plain([])
    assert "Lengths and languages" not in (found.root / "README.md").read_text()


DEDUP = {"type": "exact_dedup"}


@pytest.mark.parametrize(
    ("limits", "operators", "output"),
    [
        ({}, (KEEP, DEDUP), {}),
        ({"MAX_INLINE": 0}, (DEDUP, KEEP, {"type": "line_dedup", "min_documents": 3}), {}),
        ({"MAX_INLINE": 3}, (KEEP,), {"partition_by": ["lang"], "language_column": "site"}),
        ({"MAX_TOLD": 3}, (KEEP,), {"language_column": "site"}),
        ({"MAX_COUNTED": 6}, (KEEP, DEDUP), {"language_column": "site"}),
        ({"MAX_COUNTED": 6, "MAX_INLINE": 0}, (KEEP,), {"language_column": "score"}),
    ],
)
def test_what_is_told_does_not_depend_on_units_and_batches(corpus, monkeypatch, limits, operators, output):
    """One unit or dozens, languages in records or in parts, group operators in any stage: the manifest says the same, and it is proven."""
    for name, value in limits.items():
        monkeypatch.setattr(profile_counts if name == "MAX_INLINE" else document_profile, name, value)
    cuts = (SMALL, {}, {"unit_bytes": "4KiB", "batch_bytes": "2KiB"})
    found = [ran(corpus, f"out{number}", operators, execution, **output) for number, execution in enumerate(cuts)]
    told = [one.manifest["documents"] for one in found]
    assert all(one == told[0] for one in told)
    assert sum(entry["documents"] for entry in told[0]["by_language"].values()) == found[0].manifest["ledger"]["rows_out"]
    most = 1 if "MAX_COUNTED" in limits else limits.get("MAX_TOLD", 11) + ("MAX_TOLD" in limits)
    assert len(told[0]["by_language"]) <= most


def test_another_language_column_makes_another_version_of_the_same_documents(corpus):
    """The counts of the version before are not taken over."""
    execution = {**SMALL, "keep_intermediates": "latest"}
    first, second = (ran(corpus, execution=execution, **output) for output in ({}, {"language_column": "site"}))
    assert (first.manifest["version"], second.manifest["version"]) == ("v1", "v2")
    assert second.manifest["documents"] == plain(KEPT, language="site")
    assert first.texts() == second.texts()


def test_a_run_whose_counts_do_not_balance_publishes_nothing(corpus, monkeypatch):
    """Units that count a document too many are found by what the shards hold."""
    right = Profile._add

    def wrong(self: Profile, other: Profile, sign: int) -> None:
        right(self, other, sign)
        self.null_texts += 1

    monkeypatch.setattr(Profile, "_add", wrong)
    with pytest.raises(LedgerImbalance, match=f"counted the lengths of .* documents, the shards hold {len(KEPT)}"):
        ran(corpus)
    assert not (corpus.parent / "out" / "manifest.json").exists()


def test_languages_that_do_not_add_up_are_an_imbalance():
    """The proof of the run looks at documents and bytes of both."""
    good = told_of([("ab", "en"), ("c", None)])
    prove_profile(good, documents=2)
    prove_profile({**good, "by_language": None}, documents=2)
    with pytest.raises(LedgerImbalance, match="the lengths of 2 documents, the shards hold 3"):
        prove_profile(good, documents=3)
    for what in ("documents", "text_bytes"):
        wrong = {**good["by_language"], "en": {**good["by_language"]["en"], what: 7}}
        with pytest.raises(LedgerImbalance, match=f"{what} by language add up to"):
            prove_profile({**good, "by_language": wrong}, documents=2)


# --- what is shown


def test_report_and_card_show_lengths_and_languages(corpus):
    """Both have a table of each, with every class in words."""
    found = ran(corpus)
    page, text = (found.folder / "report.html").read_text(), (found.root / "README.md").read_text()
    told = found.manifest["documents"]
    for words in ("empty", "1 B", "2 B to 4 B", "512 B to 1 KiB"):
        assert f"| {words} | " in text
        assert f">{words}<" in page
    for name, entry in told["by_language"].items():
        assert f"| `{name}` | {entry['documents']} | " in text
        assert name in page
    assert profile_sentence(found.manifest) in text


def test_shares_are_of_all_and_languages_are_bounded():
    """The largest twenty languages by text, then one line for the others; shares add up to all."""
    documents = [("x" * (at + 1), f"l{at:02}") for at in range(30)] + [(None, "l00")]
    manifest = {"documents": told_of(documents)}
    by_length, by_language = profile_tables(manifest)
    assert [line.name for line in by_length.lines] == ["null", "1 B", "2 B to 4 B", "4 B to 8 B", "8 B to 16 B", "16 B to 32 B"]
    assert by_length.lines[0].numbers == ["1", "3.2%", "0 B", "0.0%"]
    assert [line.name for line in by_language.lines[:20]] == [f"l{at:02}" for at in range(29, 9, -1)]
    assert (by_language.lines[20].more, by_language.lines[20].documents, len(by_language.lines)) == (10, 11, 21)
    assert sum(line.text_bytes for line in by_language.lines) == manifest["documents"]["text_bytes"]
    assert list(profile_tables({"documents": None})) == list(profile_tables({})) == []


def test_a_manifest_of_an_older_build_is_shown_without(corpus):
    """Report and card of a version without a profile are as they were."""
    manifest = dict(ran(corpus).manifest)
    del manifest["documents"]
    assert "Lengths" not in report(manifest) + card(manifest)


# --- verification


def lie(found: Output, edit: Any) -> list[tuple[str, str]]:
    """What `verify` finds when the manifest says something else of documents."""
    rewrite_manifest(open_store(str(found.root)), lambda manifest: edit(manifest["documents"]))
    return [(check.name, check.message) for check in verify(str(found.root)).checks if not check.ok]


def exchange(one: dict[str, Any], other: dict[str, Any], *names: str) -> None:
    """Exchange values of two entries, which changes no sum."""
    for name in names:
        one[name], other[name] = other[name], one[name]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda told: told.update(text_bytes=7),
            ["documents.lengths: the text_bytes add up to", "documents.by_language: the text_bytes add up"],
        ),
        (lambda told: told.update(null_texts=1), ["documents.null_texts is 1, but the shards have 0", "the documents add up to"]),
        (lambda told: told["lengths"].pop(2), ["documents.lengths from 2 below 4 bytes is 0 documents with 0 bytes, but the shards have"]),
        (
            lambda told: exchange(told["lengths"][3], told["lengths"][4], "documents"),
            ["documents.lengths from 4 below 8", "from 8 below 16"],
        ),
        (lambda told: exchange(told["lengths"][0], told["lengths"][1], "from_bytes"), ["documents.lengths from 1 below 1 bytes is"]),
        (lambda told: told["lengths"].reverse(), ["expected each class once, from the shortest texts to the longest"]),
        (lambda told: told["lengths"].append(told["lengths"][-1]), ["expected each class once"]),
        (
            lambda told: exchange(told["by_language"]["de"], told["by_language"]["en"], "documents", "text_bytes"),
            ["documents.by_language.de is"],
        ),
        (
            lambda told: told["by_language"].update(fr=told["by_language"].pop("en")),
            ["documents.by_language.fr is", "documents.by_language.(other) is 0 documents"],
        ),
        (lambda told: told.update(language_column="site"), ["documents.by_language.(other) is 0 documents"]),
        (lambda told: told.update(text_column="id"), ["documents.lengths from"]),
        (lambda told: told.update(text_column="site"), ["documents.text_column is site, but the shards have no such column of texts"]),
        (lambda told: told["lengths"][0].update(documents="1"), ["documents.lengths[0].documents: found '1', expected a whole number"]),
        (lambda told: told.pop("null_texts"), ["documents.null_texts is missing"]),
    ],
)
def test_counts_that_the_shards_do_not_have_are_found(corpus, edit, words):
    """Each class and language is counted again from the shards, and every lie is told with its place."""
    failed = lie(ran(corpus), edit)
    assert failed
    assert {name for name, _ in failed} <= {"documents", "manifest"}
    for word in words:
        assert any(word in message for _, message in failed), failed


def test_no_manifest_without_a_profile_passes_as_one_with_it(corpus):
    """Null in place of it is found where there are texts; a version of an older build lacks the key, which is told, not blamed."""
    found = ran(corpus)
    store = open_store(str(found.root))
    rewrite_manifest(store, lambda manifest: manifest.update(documents=None))
    assert [check.message for check in verify(str(found.root)).checks if not check.ok] == [
        "documents is null, but the shards have the texts in text; restore the manifest from a copy"
    ]
    rewrite_manifest(store, lambda manifest: manifest.pop("documents") and None)
    checks = {check.name: check for check in verify(str(found.root)).checks}
    assert checks["documents"].ok
    assert not checks["documents"].checked


def test_verify_counts_null_texts(tmp_path):
    """Nulls are told apart from empty texts, and a text may name its own language."""

    class Partly(made.Output):
        def shard_files(self) -> dict[str, bytes]:
            files = super().shard_files()
            tables = {path: pq.read_table(pa.BufferReader(data)) for path, data in files.items()}
            path = next(iter(tables))
            tables[path] = tables[path].set_column(1, "text", pa.array([None, "x", ""], pa.large_string()))
            return {path: made.parquet(table) for path, table in tables.items()}

    output = Partly()
    documents = [row for data in output.shard_files().values() for row in pq.read_table(pa.BufferReader(data)).to_pylist()]
    output.edit = lambda manifest: manifest.update(documents=plain(documents, language="text"))
    told = output.write(open_store(str(tmp_path)))["documents"]
    assert told["null_texts"] == 1
    assert told["by_language"]["(null)"] == {"documents": 1, "text_bytes": 0}
    assert [check.message for check in verify(str(tmp_path)).checks if not check.ok] == []
    rewrite_manifest(open_store(str(tmp_path)), lambda manifest: manifest["documents"].update(null_texts=0))
    failed = [check.message for check in verify(str(tmp_path)).checks if not check.ok]
    assert any("documents.null_texts is 0, but the shards have 1" in message for message in failed)


def test_verify_counts_many_languages(corpus, monkeypatch):
    """Languages that are summed up are summed up again, whatever their values are."""
    monkeypatch.setattr(document_profile, "MAX_TOLD", 3)
    found = ran(corpus, language_column="score")
    assert len(found.manifest["documents"]["by_language"]) == 4
    assert lie(found, lambda told: told["by_language"]["(other)"].update(documents=0)) != []


def test_a_damaged_text_is_one_problem_of_its_shard(corpus):
    """Where a shard's bytes are others, its profile is not judged: nothing is told twice."""
    found = ran(corpus)
    path = found.root / found.shards()[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))
    checks = verify(str(found.root)).checks
    assert [check.name for check in checks if not check.ok] == ["shards"]
    assert "its bytes were changed" in next(check.message for check in checks if not check.ok)
    assert next(check.message for check in checks if check.name == "documents").startswith("not checkable: the shards are not as")


@pytest.mark.parametrize("order", [("wide", "text", "lang"), ("lang", "wide", "text"), ("text", "lang", "wide")])
def test_each_byte_of_a_shard_is_fetched_once(tmp_path, monkeypatch, order):
    """Hashing and counting are one pass, but for the footer, however many row groups there are and in whatever order the columns lie."""
    documents = [{"text": f"{at * 2654435761 % 2**32:x} " * (at % 20), "lang": f"l{at % 3}", "wide": f"{at:0200}"} for at in range(3000)]
    table = pa.Table.from_pylist(documents, schema=pa.schema([(name, pa.string()) for name in order]))
    pq.write_table(table, tmp_path / "shard", row_group_size=400, compression="none", use_dictionary=["lang"])
    data = (tmp_path / "shard").read_bytes()
    block, tail = 16 << 10, 64 << 10
    fetched: list[int] = []
    right = LocalStore.read_range

    def counting(self: LocalStore, path: str, start: int, stop: int, **options: Any) -> bytes:
        fetched.append(stop - start)
        return right(self, path, start, stop, **options)

    monkeypatch.setattr(LocalStore, "read_range", counting)
    monkeypatch.setattr(verify_file, "BLOCK_BYTES", block)
    monkeypatch.setattr(verify_file, "PIECE_BYTES", 4 << 10)
    shape = verify_file.Shape([(name, "string", True) for name in order], profile=ProfileColumnsOfVerify("text", "lang", {"l0", "l2"}))
    expected = verify_file.Expected("shard", len(documents), len(data), hashlib.sha256(data).hexdigest())
    looked = verify_file.look(open_store(str(tmp_path)), expected, shape)
    assert looked.problems == ()
    assert looked.counted.languages["documents"] == {"l0": 1000, "(other)": 1000, "l2": 1000}
    assert sum(looked.counted.lengths["text_bytes"].values()) == sum(len(row["text"]) for row in documents)
    assert sum(fetched) <= len(data) + tail + 2 * block  # pyarrow looks for the footer in the last 64 KiB


def test_a_hashed_file_gives_the_digest_of_all_its_bytes_whatever_was_read(tmp_path):
    """Read here and there, twice, to the end or not at all, closed by its reader: the digest is that of the object."""
    data = bytes(np.random.default_rng(0).integers(0, 256, 10_000, np.uint8))
    store = open_store(str(tmp_path))
    with store.creator("object") as sink:
        sink.write(data)
    draw = np.random.default_rng(1)
    for number in range(20):
        with HashedFile(store, store.info("object"), block_bytes=700, num_ahead=number % 3) as file:
            for _ in range(number):
                start, length = draw.integers(0, 10_000), draw.integers(0, 3000)
                if number % 2:
                    file.pass_to(int(start))
                file.seek(int(start))
                assert file.read(int(length)) == data[start : start + length]
            file.close()
            assert file.sha256() == hashlib.sha256(data).hexdigest()
            assert file.sha256() == hashlib.sha256(data).hexdigest()
