"""`shardmill inspect`: which documents it shows, what it tells of them, what it reads for that, and that no document harms a terminal."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import config_of, write_jsonl, write_parquet
from growing import Growing
from hub_server import Hub
from made import Output
from published_made import URI, publish, second_version
from servers import S3Server
from takedowns import made as taken_from
from takedowns import take

from pipelines.cli import main
from pipelines.inspect_rows import Condition, Files, Wanted, picked
from pipelines.inspect_text import Look
from pipelines.run import run
from pipelines.storage import LocalStore, open_store
from pipelines.wrapping import Piece, cells, wrapped

HOSTILE = (
    "red \x1b[31mtext \x9b2J\x1b]0;title\x07 \u202eesrever\u202c zero\u200bwidth\x00 back\rspace\x08 line\u2028end "
    "\U000e0041 <script>alert(1)</script>"
)
WORDS = [f"word{number}" for number in range(200)]
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("language", pa.string()), ("score", pa.float64())])
OPERATORS: list[dict[str, Any]] = [
    {"type": "length_filter", "min_chars": 12},
    {"type": "gopher_quality", "annotate": True},
    {"type": "filter_where", "where": "language != 'xx'"},
    {"type": "exact_dedup"},
    {"type": "minhash_dedup"},
]


def _text(seed: int, words: int = 60) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def _documents() -> list[dict[str, Any]]:
    made = [{"id": f"d{number}", "text": _text(number), "language": ["en", "de"][number % 2], "score": number / 10} for number in range(20)]
    made += [{"id": f"short{number}", "text": f"tiny {number}", "language": "en", "score": 0.0} for number in range(3)]
    made += [{"id": "foreign", "text": _text(77), "language": "xx", "score": float("nan")}]
    made += [{"id": "copy", "text": _text(3), "language": "en", "score": None}]
    made += [{"id": "near", "text": _text(4).replace(_text(4).split()[30], "CHANGED", 1), "language": "en", "score": 1.0}]
    return made


def _run(root: Path, operators: Sequence[dict[str, Any]] = OPERATORS, **sections: Any) -> Path:
    write_parquet(root / "in" / "a.parquet", _documents(), group_rows=7, schema=SCHEMA)
    write_jsonl(root / "in" / "b.jsonl", [{"id": "null", "text": None}, {"id": "wide", "text": "河流 häuser " * 20, "language": "zh"}])
    sections = {"execution": {"max_quarantined_fraction": 0.5}, **sections}
    run(config_of(root / "p.yaml", f"{root}/in/*", root / "out", operators, **sections))
    return root / "out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output with everything in it; nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _descriptor: None)
        return _run(tmp_path_factory.mktemp("inspected"))


Shell = Callable[..., str]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `inspect` with some words, and gives what it printed; with another status, its message."""

    def told(*words: object, status: int = 0) -> str:
        found = main(["inspect", *(str(word) for word in words)])
        out, err = capsys.readouterr()
        assert found == status, (out, err)
        assert "Traceback" not in out + err
        assert status == 0 or out == ""
        return err if status else out

    return told


def documents(shell: Shell, *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shell(*words, "--json"))["documents"]
    return found


def ids(shell: Shell, *words: object) -> list[str]:
    return [document["id"] for document in documents(shell, *words)]


# --- what is kept


def test_kept_documents_come_in_order_with_their_columns_and_signals(made: Path, shell: Shell) -> None:
    """All documents of the version as the shards have them: text, columns, structs of signals as a table."""
    found = documents(shell, made, "--limit", 100)
    assert [document["id"] for document in found] == [*(f"d{number}" for number in range(20)), "wide"]
    assert found[0]["text"] == _text(0)
    assert found[0]["columns"]["gopher_quality"]["num_words"] == 60
    text = shell(made, "--limit", 1)
    assert re.search(r"^id d0$", text, re.MULTILINE)
    assert re.search(r"^language: en$", text, re.MULTILINE)
    assert re.search(r"^  num_words +60   ", text, re.MULTILINE)
    assert _text(0) in text
    assert text.endswith("1 shown.\n\n")
    assert shell(made).endswith("21 shown; these are all.\n\n")


def test_json_is_one_object_of_twenty_documents(made: Path, shell: Shell) -> None:
    """Without a limit 20 documents; texts are cut as for a person, and told how long they are."""
    assert len(documents(shell, made)) == 20
    (found,) = documents(shell, made, "--limit", 1, "--chars", 9)
    assert (found["text"], found["num_chars"]) == (_text(0)[:9], len(_text(0)))
    assert (found["path"][:8], found["row"], found["state"]) == ("data/v1/", 0, "kept")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("gopher_quality.num_words < 60", ["wide"]),
        ("gopher_quality.num_words >= 60 and language == 'de' and score < 0.6", ["d1", "d3", "d5"]),
        ("contains(text, '河流')", ["wide"]),
        ("column('score') > 1.85", ["d19"]),
        ("score is None", ["wide"]),
        ("1 == 2", []),
    ],
)
def test_where_looks_at_any_column(made: Path, shell: Shell, where: str, expected: list[str]) -> None:
    """The language of `filter_where`, over signals inside of structs, texts and nulls."""
    assert ids(shell, made, "--where", where) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "langage == 'en'"], "shardmill: --where: there is no column 'langage'; did you mean 'language'?"),
        (["--where", "gopher_quality.nun_words > 1"], "there is no field 'nun_words'"),
        (["--where", "language =="], "--where: at character"),
        (["--where", "language"], "is a value of type"),
        (["--where", "score > 'a'"], "compares double with string"),
        (["--columns", "langage"], "--columns: there is no column 'langage'; did you mean 'language'?"),
        (["--dropped", "lenght_filter"], "--dropped: this version has no operator 'lenght_filter'; did you mean 'length_filter'?"),
        (["--dropped", "length_filter:too_shirt"], "--dropped: this version has no reason 'too_shirt'; did you mean 'too_short'?"),
        (["--dropped", "--where", "gopher_quality.num_words < 5"], "there is no column 'gopher_quality'"),
        (["--duplicates", "exact"], "--duplicates: this version has no operator 'exact'; did you mean 'exact_dedup'?"),
        (["--dropped", "--duplicates"], "--dropped and --duplicates: one of them at a time"),
        (["--seed", "3"], "--seed: it is that of a sample"),
        (["--version", "1"], "--version: found '1', expected a version, as v1"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_status_2(made: Path, shell: Shell, words: list[str], message: str) -> None:
    """The nearest known word is named, as for the pipeline file, and nothing is printed."""
    told = shell(made, *words, status=2).removeprefix("shardmill: ")
    assert message.removeprefix("shardmill: ") in told
    assert len(told.splitlines()) == 1


def test_columns_are_chosen(made: Path, shell: Shell) -> None:
    """Only the columns that are named, and the id, which tells which document it is; the text is one of them."""
    (found,) = documents(shell, made, "--limit", 1, "--columns", "language, score")
    assert (found["id"], found["text"], found["columns"]) == ("d0", None, {"language": "en", "score": 0.0})
    assert documents(shell, made, "--limit", 1, "--columns", "text")[0]["text"] == _text(0)


def test_a_sample_is_spread_and_repeats(made: Path, shell: Shell) -> None:
    """The same seed gives the same documents, another one others, all of them in order and none twice; conditions hold."""
    first = ids(shell, made, "--sample", 6, "--seed", 1)
    assert first == ids(shell, made, "--sample", 6, "--seed", 1)
    assert len(set(first)) == 6
    assert any(ids(shell, made, "--sample", 6, "--seed", seed) != first for seed in range(2, 5))
    known = ids(shell, made, "--limit", 100)
    assert first == sorted(first, key=known.index)
    assert set(ids(shell, made, "--sample", 5, "--where", "language == 'de'")) <= {f"d{number}" for number in range(1, 20, 2)}
    assert len(ids(shell, made, "--dropped", "--sample", 2)) == 2
    assert set(ids(shell, made, "--sample", 1000)) == set(known)


def test_a_document_is_found_by_its_id_whatever_became_of_it(made: Path, shell: Shell) -> None:
    """Kept, dropped, quarantined: each tells its fate; a doc_key is as good."""
    kept, dropped, quarantined = (documents(shell, made, "--id", name) for name in ("d7", "near", "null"))
    assert [document["state"] for document in (*kept, *dropped, *quarantined)] == ["kept", "dropped", "quarantined"]
    assert (dropped[0]["operator"], dropped[0]["reason"]) == ("minhash_dedup", "near_duplicate")
    assert documents(shell, made, "--id", dropped[0]["doc_key"]) == dropped
    assert "There is no such document." in shell(made, "--id", "nobody")


# --- what was lost


def test_dropped_documents_are_read_back_from_the_input(made: Path, shell: Shell) -> None:
    """With operator, reason, file and row; narrowed by operator, by reason, by a condition over the table."""
    found = documents(shell, made, "--dropped", "length_filter")
    assert [(one["id"], one["text"], one["reason"], one["row"]) for one in found] == [
        (f"short{number}", f"tiny {number}", "too_short", 20 + number) for number in range(3)
    ]
    assert found[0]["path"].endswith("/in/a.parquet")
    assert documents(shell, made, "--dropped", "length_filter:too_short") == found
    assert ids(shell, made, "--dropped", "--where", "row > 22") == ["foreign", "copy", "near"]
    assert "dropped by filter_where: not_met" in shell(made, "--dropped", "filter_where")
    assert len(documents(shell, made, "--dropped")) == 6
    assert "There is no such document." in shell(made, "--dropped", "gopher_quality")


def test_what_was_dropped_for_quality_is_explained_and_marked(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """What was measured and what was wanted, and the offending places, also behind what is shown of a long text."""
    lines = "".join(f"This is line {number} of a text. " for number in range(99)) + "\n" + "The same line again and again.\n" * 200
    write_parquet(shm_path / "in" / "a.parquet", [{"id": "a", "text": lines, "language": "en"}], schema=SCHEMA)
    run(config_of(shm_path / "p.yaml", f"{shm_path}/in/*", shm_path / "out", [{"type": "gopher_repetition"}]))
    (found,) = documents(shell, shm_path / "out", "--dropped", "gopher_repetition:dup_line_frac", "--chars", 400)
    assert found["why"] == "98.5 % of the lines occurred before, at most 30 % wanted"
    assert found["first_char"] > 2000
    assert found["text"][found["marks"][0]["start"] :].startswith("The same line")
    text = shell(shm_path / "out", "--dropped", "--chars", 400)
    assert "⟦The same line again and again.⟧" in text
    assert "marked: line that occurred before" in text


def test_quarantined_rows_tell_their_error(made: Path, shell: Shell) -> None:
    """What could not be read, and why; that its text is not there is told beside it."""
    (found,) = documents(shell, made, "--quarantine", "read:null_text")
    assert (found["id"], found["state"], found["operator"], found["reason"], found["text"]) == (
        "null",
        "quarantined",
        "read",
        "null_text",
        None,
    )
    assert "null" in found["problem"]


def test_duplicates_stand_beside_what_was_kept(made: Path, shell: Shell) -> None:
    """With the similarity, and the differences marked in both texts."""
    copy, near = documents(shell, made, "--duplicates")
    assert (copy["id"], copy["kept"]["id"], copy["similarity"], copy["marks"]) == ("copy", "d3", 1.0, [])
    assert copy["text"] == copy["kept"]["text"] == _text(3)
    assert (near["id"], near["kept"]["id"], near["operator"]) == ("near", "d4", "minhash_dedup")
    assert [near["text"][mark["start"] : mark["stop"]] for mark in near["marks"]] == ["CHANGED"]
    assert [near["kept"]["text"][mark["start"] : mark["stop"]] for mark in near["kept"]["marks"]] == [_text(4).split()[30]]
    text = shell(made, "--duplicates", "minhash_dedup")
    assert "⟦CHANGED⟧" in text
    assert text.count("kept instead") == 1
    assert ids(shell, made, "--duplicates", "--where", "similarity < 1.0") == ["near"]
    assert ids(shell, made, "--duplicates", "--id", "d3") == ["copy"]


def test_where_an_operator_before_changed_the_text_that_is_said(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """An exact duplicate that differs as it was read comes with the reason, and nothing is measured on a text that was not judged."""
    line = "This line ends as a sentence should, and is long enough to stay."
    rows = [{"id": "a", "text": line}, {"id": "b", "text": f"menu\n{line}"}, {"id": "c", "text": "One two. " + "menu\n" * 60}]
    write_parquet(shm_path / "in" / "a.parquet", rows)
    c4, exact = {"type": "c4_quality", "min_num_sentences": 1}, {"type": "exact_dedup"}
    quality = {"type": "gopher_quality", "min_doc_words": 5, "min_stop_words": 0}
    rows[2]["text"] = "One two three. Four.\n" + "menu\n" * 60
    write_parquet(shm_path / "in" / "a.parquet", rows)
    for carried in (False, True):
        output = shm_path / f"out{carried}"
        run(config_of(shm_path / "p.yaml", f"{shm_path}/in/*", output, [c4, exact, quality], output={"dropped": carried}))
        (pair,) = documents(shell, output, "--duplicates")
        assert (pair["text"], pair["kept"]["text"]) == (rows[1]["text"], line)
        sentence = "as it was read: c4_quality may have changed it before exact_dedup saw it"
        assert pair["note"] == pair["kept"]["note"] == sentence
        assert shell(output, "--duplicates").count(f"[{sentence}]") == 2
        (short,) = documents(shell, output, "--dropped", "gopher_quality")
        assert short["text"] == ("One two three. Four." if carried else rows[2]["text"])
        assert short["note"] == (None if carried else sentence.replace("exact_dedup", "gopher_quality"))
        assert short["why"] == ("4 words, at least 5 wanted" if carried else "at least 5 wanted (num_non_symbol_words)")


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_an_input_that_is_another_one_is_told_beside_the_document(shm_path: Path, no_fsync: None, shell: Shell, how: str) -> None:
    """Documents are listed as before, without their text and with the reason; kept ones of pairs come from the shards."""
    output = _run(shm_path)
    file = shm_path / "in" / "a.parquet"
    if how == "gone":
        file.unlink()
    else:
        write_parquet(file, _documents()[::-1], schema=SCHEMA)
    found = documents(shell, output, "--dropped")
    assert [one["id"] for one in found] == ["short0", "short1", "short2", "foreign", "copy", "near"]
    assert {one["text"] for one in found} == {None}
    assert all(one["problem"].startswith("the input has changed since: ") for one in found)
    assert "[no text: the input has changed since: " in shell(output, "--dropped")
    near = documents(shell, output, "--duplicates", "minhash_dedup")[0]
    assert (near["text"], near["kept"]["text"]) == (None, _text(4))


def test_texts_of_the_dropped_table_need_no_input(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """With `output.dropped: true` texts and columns are shown from there, for duplicates too."""
    output = _run(shm_path, output={"dropped": True})
    for file in (shm_path / "in").iterdir():
        file.unlink()
    found = documents(shell, output, "--dropped")
    assert [one["text"] for one in found[:3]] == ["tiny 0", "tiny 1", "tiny 2"]
    assert found[0]["columns"] == {"language": "en", "score": 0.0}
    assert found[3]["columns"]["score"] is None  # NaN, which JSON has not
    assert ids(shell, output, "--dropped", "--where", "language == 'xx' or length(text) < 7 and row == 21") == ["short1", "foreign"]
    near = documents(shell, output, "--duplicates", "minhash_dedup")[0]
    assert [near["text"][mark["start"] : mark["stop"]] for mark in near["marks"]] == ["CHANGED"]


def test_documents_of_all_ingestions_are_shown(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """A version that was added to: what each run dropped is read back from its own inventory."""
    growing = Growing(shm_path, [{"type": "length_filter", "min_chars": 10}])
    for number in range(2):
        rows = [{"id": f"{number}-{row}", "text": "x" * row} for row in (3, 20)]
        growing.arrives(f"f{number}", rows, pa.schema([("id", pa.string()), ("text", pa.large_string())]))
        growing.ingest()
    assert ids(shell, growing.target) == ["0-20", "1-20"]
    assert [(one["id"], one["text"]) for one in documents(shell, growing.target, "--dropped")] == [("0-3", "xxx"), ("1-3", "xxx")]
    assert ids(shell, growing.target, "--dropped", "length_filter", "--version", "v1") == ["0-3"]
    assert ids(shell, f"{growing.target}@v1") == ["0-20"]


# --- elsewhere


def test_what_was_taken_out_is_not_read_back(shm_path: Path, shell: Shell) -> None:
    """The input may still have a document that had to go, dropped or kept: it is listed, on either side of a pair, and never shown."""
    taken_from(shm_path)
    output = shm_path / "out"
    asked: tuple[list[str], ...] = ([], ["--duplicates"], ["--dropped", "length_filter"])
    gone = {shown["id"] for words in asked for shown in documents(shell, output, *words, "--limit", 2)}
    gone |= {documents(shell, output, "--duplicates")[-1]["kept"]["id"]}
    take(shm_path, gone)
    told = [shown for words in ("--dropped", "--duplicates") for shown in documents(shell, output, words, "--limit", 999)]
    assert gone <= {shown["id"] for shown in told}
    for shown in (*told, *(one["kept"] for one in told if "kept" in one)):
        assert (shown["text"] is None) == (shown["id"] in gone), shown
        assert shown["text"] is not None or "it was taken out" in shown["problem"]
        assert shown["note"] is None


def test_an_output_in_a_bucket_reads_the_same(shm_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    """Input and output on S3; the input's endpoint is the manifest's, its secrets the environment's."""
    bucket = s3_server.make_bucket()
    store = open_store(f"s3://{bucket}", s3_server.options)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(_documents(), schema=SCHEMA), sink, row_group_size=5)
    store.create("in/a.parquet", sink.getvalue().to_pybytes())
    config = config_of(
        shm_path / "p.yaml",
        f"s3://{bucket}/in/*",
        f"s3://{bucket}/out",
        [OPERATORS[0], OPERATORS[3]],
        input={"storage_options": s3_server.options},
        output={"storage_options": s3_server.options},
    )
    run(config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    assert ids(shell, f"s3://{bucket}/out", "--where", "language == 'xx'") == ["foreign"]
    assert [one["text"] for one in documents(shell, f"s3://{bucket}/out", "--dropped", "length_filter")] == ["tiny 0", "tiny 1", "tiny 2"]
    assert documents(shell, f"s3://{bucket}/out", "--duplicates")[0]["kept"]["text"] == _text(3)
    store.delete(["in/a.parquet"])
    assert "the input has changed since" in shell(f"s3://{bucket}/out", "--dropped", "--limit", 1)


@pytest.mark.parametrize("include_data", [False, True])
def test_a_published_version_reads_as_its_output(tmp_path: Path, hub: Hub, shell: Shell, include_data: bool) -> None:
    """By the repo's address, also an older version by its tag; an input that is not here is told."""
    store = open_store(str(tmp_path / "out"))
    Output().write(store)
    publish(hub, store, include_data=include_data)
    local = documents(shell, store.uri)
    assert documents(shell, URI) == local
    assert len(local) == 9
    lost = documents(shell, URI, "--dropped")
    assert len(lost) == 5
    assert {one["text"] for one in lost} == {None}
    second_version(store)
    publish(hub, store, include_data=include_data)
    assert documents(shell, URI, "--version", "v1") == local
    assert "v9" in shell(URI, "--version", "v9", status=1)


def test_a_strangers_manifest_cannot_send_anybody_elsewhere(tmp_path: Path, hub: Hub, shell: Shell) -> None:
    """Of a repo only local paths and S3 are followed, as for its documents."""
    store = open_store(str(tmp_path / "out"))
    Output(inputs=[("http://127.0.0.1:9/a.parquet", [6, 4]), ("/raw/b.parquet", [6]), ("/raw/c.parquet", [])]).write(store)
    publish(hub, store, include_data=True)
    found = documents(shell, URI, "--dropped", "--where", "starts_with(uri, 'http')")
    assert found
    assert {one["text"] for one in found} == {None}


# --- what is not there


def test_where_nothing_is_finished_it_is_told(tmp_path: Path, shell: Shell) -> None:
    """As `report` says it, with status 1; a version that was purged says why."""
    assert "nothing is finished here" in shell(tmp_path, status=1)
    store = open_store(str(tmp_path / "out"))
    Output().write(store)
    assert "version v7 is not finished here; finished: v1" in shell(tmp_path / "out", "--version", "v7", status=1)
    store.create("versions/v1/purged.json", b"{}")
    for words in ([], ["--dropped"], ["--duplicates"]):
        assert "v1 was purged when documents were taken out" in shell(tmp_path / "out", *words, status=1)


def test_an_empty_version_says_so(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """Nothing was kept: no document, no error."""
    output = _run(shm_path, [{"type": "length_filter", "min_chars": 100_000}])
    assert "0 documents" in shell(output)
    assert "There is no such document." in shell(output, "--where", "language == 'en'")
    assert documents(shell, output) == documents(shell, output, "--sample", 3) == documents(shell, output, "--duplicates") == []


def test_without_a_text_column_columns_are_shown(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """An output of ids and languages."""
    output = _run(shm_path, OPERATORS[:1], output={"columns": ["id", "language"]})
    (found,) = documents(shell, output, "--limit", 1)
    assert (found["text"], found["columns"]) == (None, {"language": "en"})
    assert "language: en" in shell(output, "--limit", 1)


# --- how much is read


def test_a_page_of_a_large_output_reads_little_of_it(shm_path: Path, no_fsync: None, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row group of 36 MB: the first documents, and those of a condition, need a small part of its bytes."""
    draw = random.Random(5)
    rows = [{"id": f"d{number}", "text": draw.randbytes(1500).hex(), "language": "en", "score": float(number)} for number in range(12_000)]
    write_parquet(shm_path / "in" / "a.parquet", rows, group_rows=10_000, schema=SCHEMA)
    run(config_of(shm_path / "p.yaml", f"{shm_path}/in/*", shm_path / "out", [{"type": "length_filter", "min_chars": 1}]))
    read: list[int] = []
    plain = LocalStore.read_range

    def counted(store: LocalStore, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        read.append(stop - start)
        return plain(store, path, start, stop, etag=etag)

    monkeypatch.setattr(LocalStore, "read_range", counted)
    size = sum(file.stat().st_size for file in (shm_path / "out" / "data").rglob("*.parquet"))
    assert size > 10 << 20
    for words in (["--limit", "3"], ["--where", "score > 2 and score < 5"], ["--where", "score < 0"], ["--where", "language == 'xx'"]):
        read.clear()
        documents(shell, shm_path / "out", *words)
        assert sum(read) < size / 3, words


def test_rows_are_picked_across_row_groups_and_files(tmp_path: Path) -> None:
    """Against a plain reading of everything: rows of a condition, with columns that some files lack, and samples of every size."""
    store = open_store(str(tmp_path))
    rows = []
    for file in range(3):
        values = list(range(file * 50, file * 50 + 50))
        table = pa.table({"n": values, **({} if file == 1 else {"m": [value % 3 for value in values]})})
        pq.write_table(table, tmp_path / f"{file}.parquet", row_group_size=8)
        rows.append(50)
    files = Files(store, tuple(f"{file}.parquet" for file in range(3)), tuple(rows))

    def found(wanted: Wanted) -> list[tuple[int, int]]:
        return [
            (row + 50 * int(some.path[0]), value)
            for some in picked(files, wanted)
            for row, value in zip(some.rows.tolist(), some.batch.column("n").to_pylist(), strict=True)
        ]

    assert found(Wanted()) == [(value, value) for value in range(150)]
    by_m = Condition(("m",), lambda batch: pa.compute.equal(pa.compute.cast(batch.column("m"), pa.int64()), 1))
    assert found(Wanted((by_m,))) == [(value, value) for value in (*range(50), *range(100, 150)) if value % 3 == 1]
    for sample in (1, 2, 7, 16, 40):
        some = found(Wanted(sample=sample, seed=sample))
        assert len(some) == sample
        assert some == sorted(set(some))
        assert all(row == value for row, value in some)


# --- terminals


def _is_harmless(text: str) -> bool:
    return all(character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in text)


def test_no_document_writes_to_the_terminal(shm_path: Path, no_fsync: None, shell: Shell) -> None:
    """Escape codes, bidirectional overrides, controls and zero widths, in texts, ids, columns, their names, files: all shown as codes."""
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("evil\x1b[2J\u202e", pa.string()), ("l", pa.list_(pa.string()))])
    names = schema.names
    rows = [dict(zip(names, [f"{HOSTILE}{number}", HOSTILE + "\ttab\n" * number, HOSTILE, [HOSTILE]], strict=True)) for number in range(6)]
    write_parquet(shm_path / "in" / "a\u202e.parquet", rows, schema=schema)
    output = shm_path / "out"
    operators = [{"type": "exact_dedup"}, {"type": "length_filter", "min_chars": len(HOSTILE) + 8}]
    run(config_of(shm_path / "p.yaml", f"{shm_path}/in/*", output, operators, output={"dropped": True}))
    for words in ([], ["--dropped"], ["--where", "text != '\x1b'"], ["--width", "40"], ["--chars", "7"]):
        text = shell(output, *words)
        assert _is_harmless(text), words
        assert "\\x1b[31m" in text
    written = shell(output, "--limit", 1, "--json")
    assert _is_harmless(written)  # JSON has escapes of its own
    assert json.loads(written)["documents"][0]["text"].startswith(HOSTILE)


@pytest.mark.parametrize("width", [20, 40, 79])
def test_lines_fit_a_narrow_terminal(made: Path, shell: Shell, width: int) -> None:
    """No line is wider than asked for, wide characters counted twice; no character of a text is lost."""
    for words in (["--where", "contains(text, '河')"], ["--duplicates"], ["--dropped"], ["--limit", "2"]):
        lines = shell(made, "--width", width, *words).splitlines()
        assert max(cells(line) for line in lines) <= width
    text = shell(made, "--width", width, "--where", "contains(text, '河')")
    assert "".join("河流 häuser " * 20).replace(" ", "") in text.replace("\n", "").replace(" ", "")


def test_folded_lines_have_every_character() -> None:
    """Random text of narrow, wide and combining characters: nothing is lost but the spaces at which it is cut, and every line fits."""
    draw = random.Random(1)
    for _ in range(300):
        text = "".join(draw.choice("ab é河\u0301😀 ") for _ in range(draw.randrange(60)))
        width = draw.randrange(2, 12)
        pieces = [Piece(text[:7], "mark"), Piece(text[7:])]
        lines = ["".join(piece.text for piece in line) for line in wrapped(pieces, width)]
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(cells(line) <= width for line in lines)


def test_a_text_of_many_megabytes_is_shown_at_once(made: Path) -> None:
    """Cut at `--chars`; with all of it in one line folding is linear."""
    from pipelines.inspect_documents import Document
    from pipelines.inspect_text import shown

    huge = Document("kept", "x", None, None, None, text="y z" * (1 << 20) + "\x1b")
    short = shown(huge, 1, Look(width=80, max_chars=100))
    assert len(short) < 1000
    assert "[3,145,629 more characters]" in short
    whole = shown(huge, 1, Look(width=80))
    assert whole.count("y") >= 1 << 20
    assert "\x1b" not in whole


class Terminal:
    """The command on a pseudo-terminal of its own."""

    def __init__(self, words: Sequence[object], **environment: str) -> None:
        parent, child = pty.openpty()
        self.fd = parent
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "LINES": "20", **environment}
        env.pop("NO_COLOR", None)
        command = [sys.executable, "-m", "pipelines.cli", "inspect", *(str(word) for word in words)]
        self.process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=env, start_new_session=True)
        os.close(child)

    def output(self, until: str | None = None) -> str:
        """What it wrote, up to some words, or to its end."""
        found = b""
        while until is None or until.encode() not in found:
            ready, _, _ = select.select([self.fd], [], [], 60)
            assert ready, found
            try:
                piece = os.read(self.fd, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            found += piece
        return found.decode(errors="replace")

    def status(self) -> int:
        rest = self.output()
        status = self.process.wait(60)
        os.close(self.fd)
        assert "Traceback" not in rest
        assert "Broken" not in rest
        return status


@pytest.fixture
def many(shm_path: Path, no_fsync: None) -> Path:
    """An output that no pipe holds."""
    rows = [{"id": f"d{number}", "text": _text(number, 400), "language": "en", "score": 1.0} for number in range(400)]
    write_parquet(shm_path / "in" / "a.parquet", rows, schema=SCHEMA)
    run(config_of(shm_path / "p.yaml", f"{shm_path}/in/*", shm_path / "out", [{"type": "length_filter", "min_chars": 1}]))
    return shm_path / "out"


def test_a_pager_may_be_left_early(many: Path, tmp_path: Path) -> None:
    """The user's pager gets the pages as they come, and when it quits the command ends quietly with 0; without one, colours are there."""
    pager = tmp_path / "pager.sh"
    pager.write_text('#!/bin/sh\nread first\nread second\nread third\necho "seen: $third"\n')
    pager.chmod(0o755)
    terminal = Terminal([many], PAGER=str(pager))
    assert "seen: ── 1 kept" in terminal.output("seen") + terminal.output(" kept")
    assert terminal.status() == 0
    terminal = Terminal([many, "--limit", "1", "--no-pager"])
    assert "\x1b[1m" in terminal.output("1 shown")
    assert terminal.status() == 0


def test_interrupted_is_130(many: Path) -> None:
    """Ctrl-C ends it as every command."""
    terminal = Terminal([many, "--no-pager"])
    terminal.output("d3")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.status() == 130


def test_a_closed_pipe_ends_quietly(many: Path) -> None:
    """`| head -1` gets its line, the status is 0, and nobody complains."""
    command = [sys.executable, "-m", "pipelines.cli", "inspect", str(many)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().decode().startswith(f"{many} v1: 400 documents")
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), complaint) == (0, b"")
