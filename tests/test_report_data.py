"""What a version's report shows of documents, signals and work: of real runs, whatever the input is, and whatever becomes of it."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import config_of, documents, finished, write_jsonl, write_parquet
from growing import Growing, batches
from takedowns import SECRET, config, take
from takedowns import made as taken_from
from warcs import gz, info, page

import pipelines.report_data
import pipelines.run_report
from operators.base import Result
from pipelines.config import load
from pipelines.documents import ReadOptions
from pipelines.inventory import Inventory
from pipelines.prepare import DriverAssets
from pipelines.replay import Replay
from pipelines.report import without_documents
from pipelines.report_data import Origin, report_data, sizes
from pipelines.run import run
from pipelines.shown_rows import choose
from pipelines.shown_texts import Budget, InputTexts
from pipelines.storage import Sources, open_store

pytestmark = pytest.mark.usefixtures("no_fsync")

QUARANTINE = {"max_quarantined_fraction": 1.0}
OPERATORS = [
    {"type": "length_filter", "min_chars": 12},
    {"type": "exact_dedup"},
    {"type": "gopher_quality", "min_doc_words": 8, "min_stop_words": 0},
]


@pytest.fixture
def collected(monkeypatch):
    """What reports are made of, in the order of the runs."""
    found = []
    real = pipelines.run_report.report_data

    def spying(*arguments, **settings):
        found.append(real(*arguments, **settings))
        return found[-1]

    monkeypatch.setattr(pipelines.run_report, "report_data", spying)
    return found


def write_corpus(folder, number=120):
    """Two files of documents, a null among them."""
    rows = documents(number)
    rows[7] = {**rows[7], "text": None}
    write_parquet(folder / "a.parquet", rows)
    write_parquet(folder / "b.parquet", documents(number, seed=3, prefix="e"))
    return rows


def page_of(found):
    return (found.folder / "report.html").read_text()


def text_of(folder, shown):
    """The whole text of a document that is shown, read from the input at its place."""
    return pq.read_table(shown.uri)["text"][shown.row].as_py()


# --- runs


def test_a_run_shows_kept_dropped_duplicate_and_quarantined_documents(tmp_path, collected):
    """Every reason has its documents, each with the text at its place, and duplicates stand beside what was kept for them."""
    write_corpus(tmp_path / "in")
    found = finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE))
    (data,) = collected
    assert data.notes == ()
    shown = {(example.operator, example.reason) for example in data.examples}
    dropped = {(name, reason) for name, reasons in found.manifest["ledger"]["dropped"].items() for reason in reasons}
    assert shown == dropped - {("exact_dedup", "exact_duplicate")} | {(None, None)}
    for example in data.examples:
        if example.operator is not None:
            assert text_of(tmp_path, example.document).startswith(example.document.text[:50])
            assert example.detail
            assert all(name.startswith(f"{example.operator}.") for name in example.document.signals)
    kept = {row["id"]: row["text"] for row in found.rows()}
    assert all(one.document.text in kept[one.document.id] for one in data.examples if one.operator is None)
    assert data.pairs
    for pair in data.pairs:
        assert text_of(tmp_path, pair.removed) == text_of(tmp_path, pair.kept)
        assert pair.removed.marks == pair.kept.marks == ()
    assert [(row.error, row.row) for row in data.quarantined] == [("null_text", 7)]
    sets = data.component_sizes["exact_dedup"]
    assert (
        sum((documents - 1) * number for documents, number in sets) == found.manifest["ledger"]["dropped"]["exact_dedup"]["exact_duplicate"]
    )
    assert data.studied == 239
    assert {one.operator for one in data.histograms} == {"length_filter", "gopher_quality"}
    assert {total[0] for total in data.work_totals} >= {"unit", "decide", "shard", "table"}
    assert sum(total[1] for total in data.work_totals) == len(data.works)


def test_near_duplicates_are_shown_with_what_differs(tmp_path, collected):
    """Of a removed copy with one other word, that word is marked on its side, and the kept one's on the other."""
    text = " ".join(f"word{number}" for number in range(200))
    rows = [{"id": "kept", "text": text}, {"id": "copy", "text": text.replace("word150", "changed")}, {"id": "else", "text": "x y z"}]
    write_jsonl(tmp_path / "in.jsonl.gz", rows)
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in.jsonl.gz", tmp_path / "out", [{"type": "minhash_dedup"}]))
    (pair,) = collected[0].pairs
    marked = [[side.text[mark.start : mark.stop] for mark in side.marks] for side in (pair.removed, pair.kept)]
    assert (pair.removed.id, pair.kept.id, marked) == ("copy", "kept", [["changed"], ["word150"]])
    assert pair.removed.first_char == pair.kept.first_char > 500


def test_the_choice_depends_on_the_files_alone(tmp_path, collected):
    """Two runs over the same input, cut otherwise, show the same documents."""
    write_corpus(tmp_path / "in")
    for name, execution in (("one", QUARANTINE), ("two", {**QUARANTINE, "unit_bytes": "2KiB", "batch_bytes": "1KiB"})):
        run(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / name, OPERATORS, execution=execution))
    one, two = collected
    assert [example for example in one.examples if example.operator] == [example for example in two.examples if example.operator]
    assert (one.pairs, one.histograms, one.quarantined) == (two.pairs, two.histograms, two.quarantined)


def test_without_ids_and_with_partitions_documents_are_found(tmp_path, collected):
    """An input without ids and a partitioned output without the text column show what was dropped, and pairs."""
    schema = pa.schema([("text", pa.large_string()), ("lang", pa.string())])
    write_parquet(tmp_path / "in" / "a.parquet", documents(120), schema=schema)
    found = finished(
        config_of(
            tmp_path / "p.yaml",
            tmp_path / "in" / "*.parquet",
            tmp_path / "out",
            OPERATORS,
            output={"partition_by": ["lang"], "columns": ["lang"]},
        )
    )
    (data,) = collected
    assert found.manifest["output"]["rows"] > 0
    assert data.pairs
    assert {example.operator for example in data.examples} == {"length_filter", "gopher_quality"}
    assert all(len(example.document.id) == 32 for example in data.examples)


def test_web_pages_are_shown_as_the_operator_saw_them(tmp_path, collected):
    """Of a WARC file, whose text an operator extracts, dropped pages are shown with the extracted text."""
    (tmp_path / "a.warc.gz").write_bytes(gz([info(), *(page(number) for number in range(4))]))
    steps = [{"type": "extract_html", "extractor": "resiliparse"}, {"type": "length_filter", "min_chars": 10_000}]
    finished(config_of(tmp_path / "p.yaml", tmp_path / "a.warc.gz", tmp_path / "out", steps))
    (data,) = collected
    assert len(data.examples) == 4
    assert all("Body of page" in example.document.text and "<p>" not in example.document.text for example in data.examples)


def test_hostile_and_huge_documents_are_shown_bounded_and_harmless(tmp_path, collected):
    """Script, control characters and 50 MB of one word are cut, and are no markup in the page."""
    hostile = "<script>alert(1)</script> \x1b[2J \u202e reversed \x00 </textarea> <!-- -->"
    rows = [
        {"id": "</td>", "text": hostile},
        {"id": "huge", "text": "words" * 10_000_000},
    ]
    write_parquet(tmp_path / "in" / "a.parquet", rows, schema=pa.schema([("id", pa.string()), ("text", pa.large_string())]))
    steps = [{"type": "length_filter", "min_chars": 100, "max_chars": 1000}]
    found = finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", steps))
    (data,) = collected
    assert {example.document.num_chars for example in data.examples} == {len(hostile), 50_000_000}
    assert max(len(example.document.text) for example in data.examples) < 2000
    shown = page_of(found)
    assert "<script>alert" not in shown
    assert "\x1b" not in shown
    assert "alert(1)" in shown


def test_no_text_is_shown_where_none_is_wanted(tmp_path, collected):
    """`report_samples: 0` leaves out every text, messages that may quote one included, and is no other pipeline."""
    write_corpus(tmp_path / "in")
    settings = {"execution": QUARANTINE, "output": {"report_samples": 0}}
    found = finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, **settings))
    (data,) = collected
    assert (data.examples, data.pairs) == ((), ())
    assert [row.message for row in data.quarantined] == [""]
    assert "A text that a third" not in page_of(found)
    assert run(
        config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE)
    ).was_finished


def test_nothing_that_goes_wrong_with_the_report_fails_the_run(tmp_path, monkeypatch, collected):
    """Each part that cannot be collected is a note, and the run ends as ever; an interrupt still stops it."""

    def failing(*_arguments, **_settings):
        raise MemoryError("none left")

    write_corpus(tmp_path / "in")
    config = config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE)
    for name in ("choose", "study_signals", "some_batches"):
        monkeypatch.setattr(pipelines.report_data, name, failing)
    page = page_of(finished(config))
    assert len(collected[0].notes) == 4
    assert all(note.endswith("not shown: MemoryError") for note in collected[0].notes)
    assert "are not shown: MemoryError" in page
    monkeypatch.setattr(pipelines.run_report, "report_data", failing)
    finished(config_of(tmp_path / "q.yaml", tmp_path / "in" / "*.parquet", tmp_path / "again", OPERATORS, execution=QUARANTINE))

    def interrupted(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipelines.run_report, "report_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config_of(tmp_path / "r.yaml", tmp_path / "in" / "*.parquet", tmp_path / "third", OPERATORS, execution=QUARANTINE))


def test_how_texts_are_shown_is_said_where_operators_change_them(tmp_path, collected):
    """Above removed duplicates stands whether they are as the operator saw them; without its operators they are as they were read."""
    line = "This line ends as a sentence should, and is long enough to stay."
    write_parquet(
        tmp_path / "in" / "a.parquet", [{"id": "a", "text": line}, {"id": "b", "text": f"menu\n{line}"}, {"id": "c", "text": "x"}]
    )
    operators = [{"type": "length_filter", "min_chars": 3}, {"type": "c4_quality", "min_num_sentences": 1}, {"type": "exact_dedup"}]
    page = page_of(finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", operators)))
    (data,) = collected
    assert data.edits == {"exact_dedup": "Texts as exact_dedup saw them, behind c4_quality."}
    assert data.edits["exact_dedup"] in page
    assert [(pair.removed.text, pair.kept.text) for pair in data.pairs] == [(line, line)]
    data = again(tmp_path / "out", tmp_path / "in")
    assert data.edits == {"exact_dedup": "exact_dedup may have seen other texts than these: c4_quality may change them before."}
    assert [(pair.removed.text, pair.kept.text) for pair in data.pairs] == [(f"menu\n{line}", line)]


@pytest.mark.parametrize("place", ["operators.length.LengthFilter.open", "pipelines.formats.read"])
def test_no_note_quotes_a_document(tmp_path, monkeypatch, place):
    """What a library says of a value that it stumbled over stays out of the page: notes are in published copies, too."""
    write_corpus(tmp_path / "in")
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE))

    def quoting(batch, *_arguments):
        if isinstance(batch, pa.RecordBatch) and not batch.num_rows:
            return Result(batch)
        raise pa.ArrowInvalid("cannot be parsed: A text that a third of all")

    monkeypatch.setattr(place, quoting if place.endswith("read") else lambda *_: quoting)
    data = again(tmp_path / "out", tmp_path / "in", replaying=load(tmp_path / "p.yaml"))
    assert any("ArrowInvalid" in note for note in data.notes)
    assert not any("third" in note for note in data.notes)


def test_work_is_told_by_operator_with_its_retries(tmp_path, collected, monkeypatch):
    """A unit that failed once is told with two attempts; a run that goes on says that it does not know of earlier ones."""
    import pipelines.unit as module
    from pipelines.errors import Unavailable

    real, failed = module.UnitJob.run, []

    def once(self, worker, attempt):
        if not failed:
            failed.append(1)
            raise Unavailable("for a moment")
        return real(self, worker, attempt)

    monkeypatch.setattr(module.UnitJob, "run", once)
    write_corpus(tmp_path / "in")
    execution = {**QUARANTINE, "unit_bytes": "4KiB", "batch_bytes": "2KiB", "keep_intermediates": "latest"}
    config = config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=execution)
    run(config)
    (data,) = collected
    assert [work.attempts for work in data.works if work.attempts > 1] == [2]
    units = next(total for total in data.work_totals if total[0] == "unit")
    assert units[4] == 1
    assert units[1] == sum(work.kind == "unit" for work in data.works)
    assert {name for work in data.works for name in work.seconds} >= {"read", "length_filter", "engine"}
    changed = [*OPERATORS[:2], {"type": "gopher_quality", "min_doc_words": 9, "min_stop_words": 0}]
    run(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", changed, execution=execution))
    assert any("how often they were tried is not known" in note for note in collected[1].notes)


# --- an input that is not what it was


def again(folder, source, *, replaying=None, **settings):
    """What the report of a finished output shows, collected anew from its files; with the operators of `replaying`."""
    store = open_store(str(folder))
    manifest = json.loads(store.read("manifest.json"))
    inventory = Inventory.load(store, manifest["input"]["inventory"])
    sources = Sources(max_seconds=1)
    texts = InputTexts(inventory, sources, ReadOptions(None, "text", "id", ()), has_made_ids=False)
    parts = pq.read_table(folder / "versions/v1/shards.parquet").to_pylist()
    from pipelines.results import Packed

    shards = [Packed.of_row(row).part for row in parts]
    replay = None if replaying is None else Replay(replaying.operators, texts.schema, DriverAssets(replaying, sources, {}))
    return report_data(store, manifest, shards, Origin(sources, texts, replay), **{"samples": 3, **settings})


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_an_input_that_is_gone_or_changed_is_told_and_the_rest_is_shown(tmp_path, what):
    """Documents of the file are missing with a note that names it; those of the others are there."""
    write_corpus(tmp_path / "in")
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE))
    (tmp_path / "in" / "b.parquet").unlink()
    if what == "changed":
        write_parquet(tmp_path / "in" / "b.parquet", documents(200, seed=8))
    data = again(tmp_path / "out", tmp_path / "in")
    assert any("b.parquet" in note for note in data.notes)
    assert {example.document.uri.rpartition("/")[2] for example in data.examples if example.operator} == {"a.parquet"}


def test_texts_of_the_dropped_table_do_without_the_input(tmp_path):
    """With `dropped: true` dropped documents are shown, and removed duplicates beside the kept ones of the shards, without the input."""
    write_corpus(tmp_path / "in")
    settings = {"execution": QUARANTINE, "output": {"dropped": True}}
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS[:2], **settings))
    rows = {name: pq.read_table(tmp_path / "in" / name)["text"].to_pylist() for name in ("a.parquet", "b.parquet")}
    shutil.rmtree(tmp_path / "in")
    data = again(tmp_path / "out", tmp_path / "in")
    shown = [example.document for example in data.examples if example.operator]
    assert len(shown) == 3
    assert all(one.text == rows[one.uri.rpartition("/")[2]][one.row] for one in shown)
    assert data.pairs
    assert all(pair.removed.text == pair.kept.text for pair in data.pairs)


def test_what_would_cost_too_much_is_not_read(tmp_path):
    """Row groups beyond the budget are left out, with how many documents that are."""
    write_corpus(tmp_path / "in")
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE))
    store = open_store(str(tmp_path / "out"))
    inventory = Inventory.load(store, json.loads(store.read("manifest.json"))["input"]["inventory"])
    texts = InputTexts(inventory, Sources(), ReadOptions(None, "text", "id", ()), has_made_ids=False)
    keys = texts.keys(*(pa.array(values).to_numpy() for values in ([0, 0, 0, 1], [1, 2, 80, 5]))).to_pylist()
    found = []
    budget = Budget(groups=2)
    texts.read(keys, budget, lambda some: found.extend(some.rows))
    assert found == [1, 2, 80]
    assert list(budget.notes()) == ["1 documents are not shown: reading their row groups again would take too long"]


def test_of_large_row_groups_documents_are_shown_that_lie_together(tmp_path, monkeypatch, collected):
    """Where the chosen documents would cost too much, the first ones of few files are taken instead, and the page says so."""
    monkeypatch.setattr("pipelines.shown_documents.MAX_BYTES", 1)
    rows = [{**row, "text": row["text"] + "x"} for row in documents(9000)]
    write_parquet(tmp_path / "in" / "a.parquet", rows, group_rows=500)
    steps = [{"type": "length_filter", "min_chars": 40}]
    finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", steps))
    (data,) = collected
    assert any("the first ones of a few files" in note for note in data.notes)
    shown = [example.document.row for example in data.examples if example.operator]
    assert shown == [at for at, row in enumerate(rows) if len(row["text"]) < 40][:5]


def test_a_run_may_leave_out_its_documents(tmp_path, collected):
    """Asked to, a run collects nothing: its report says what the manifest does."""
    write_corpus(tmp_path / "in")
    config = config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE)
    run(config, shows_documents=False)
    assert collected == []
    assert "A text that a third" not in (tmp_path / "out/versions/v1/report.html").read_text()


# --- other versions


def test_from_s3_documents_are_read_again_as_they_were_listed(s3_server, tmp_path, collected):
    """Of a run from bucket to bucket dropped documents and pairs are shown, and signals."""
    write_corpus(tmp_path / "in")
    source, target = s3_server.make_bucket(), s3_server.make_bucket()
    for name in ("a", "b"):
        s3_server.client().put_object(Bucket=source, Key=f"{name}.parquet", Body=(tmp_path / "in" / f"{name}.parquet").read_bytes())
    place = {"storage_options": s3_server.options}
    uris = (f"s3://{source}/*.parquet", f"s3://{target}/out")
    run(config_of(tmp_path / "p.yaml", *uris, OPERATORS, input=place, output=place, execution=QUARANTINE))
    (data,) = collected
    assert data.notes == ()
    assert {example.operator for example in data.examples} == {None, "length_filter", "gopher_quality"}
    assert data.pairs
    assert data.studied == 239


def test_a_takedown_shows_nothing_of_what_went(shm_path):
    """The page of its version shows kept documents, none that was taken out and none that was dropped before."""
    before = taken_from(shm_path)
    gone = {row["text"] for row in before.rows() if row["id"] in ("a6", "b30")}
    take(shm_path, ["a6", "b30"])
    page = (shm_path / "out" / "versions/v2/report.html").read_text()
    assert SECRET in page
    assert not any(text.split()[0] in page for text in gone)
    assert "too_short" in page
    assert f"{SECRET}-as5." not in page


def test_a_takedown_does_not_fail_for_its_report(shm_path, monkeypatch):
    """Documents must go: where the page cannot be made of what was collected, it says what the manifest does, and that."""
    taken_from(shm_path)
    monkeypatch.setattr("pipelines.takedown.report_data", lambda *_, **__: 1 / 0)
    take(shm_path, ["a6"])
    (page,) = shm_path.glob("*/versions/v2/report.html")
    assert "could not be shown: ZeroDivisionError" in page.read_text()


def test_a_run_after_a_takedown_shows_nothing_of_what_went(shm_path, collected):
    """The documents that it leaves out are counted as dropped, and their texts, which the input still has, are not read."""
    before = taken_from(shm_path)
    gone = {row["text"].split()[0] for row in before.rows() if row["id"] in ("a6", "b30")}
    take(shm_path, ["a6", "b30"])
    run(config(shm_path, [{"type": "length_filter", "min_chars": 30}]))
    made = json.loads((shm_path / "out" / "manifest.json").read_bytes())
    assert (made["version"], sum(made["ledger"]["dropped"]["takedown"].values())) == ("v3", 2)
    page = (shm_path / "out" / "versions/v3/report.html").read_text()
    assert {example.operator for example in collected[-1].examples} == {None, "length_filter"}
    assert not any(text in page for text in gone)


def test_an_ingestion_shows_its_duplicates_beside_documents_of_earlier_versions(tmp_path, collected):
    """A copy that came later stands beside what an earlier version kept, as it was read then."""
    made = Growing(tmp_path, [{"type": "exact_dedup"}])
    first = batches(1)[0]
    made.arrives("a", first)
    made.ingest()
    made.arrives("b", [{**first[3], "id": "late"}, {**first[4], "id": "later", "text": "nothing like it"}])
    made.ingest()
    data = collected[-1]
    (pair,) = data.pairs
    assert (pair.removed.id, pair.kept.uri) == ("late", str(made.input / "a.parquet"))
    assert pair.removed.text == pair.kept.text == first[3]["text"]
    assert {example.document.id for example in data.examples} == {"later"}


def test_what_is_published_shows_no_text(tmp_path):
    """The stretch with documents is taken out of the page, and nothing else."""
    write_corpus(tmp_path / "in")
    found = finished(config_of(tmp_path / "p.yaml", tmp_path / "in" / "*.parquet", tmp_path / "out", OPERATORS, execution=QUARANTINE))
    page = page_of(found)
    assert "A text that a third of all documents share" in page
    assert "A text that a third of all documents share" not in without_documents(page)


# --- the choice


def test_rows_are_chosen_whatever_the_files_are(tmp_path):
    """The rows with the smallest hashes of each group come out, however the table is cut into files."""
    rows = [
        {"doc_key": number.to_bytes(16, "big"), "operator": "ab"[number % 2], "reason": str(number % 3), "id": str(number)}
        for number in range(500)
    ]
    schema = pa.schema([("doc_key", pa.binary(16)), ("operator", pa.string()), ("reason", pa.string()), ("id", pa.string())])
    store = open_store(str(tmp_path))
    chosen = []
    for size in (500, 77):
        files = []
        for start in range(0, 500, size):
            some = rows[start : start + size]
            path = tmp_path / f"{size}-{start}.parquet"
            pq.write_table(pa.Table.from_pylist(some, schema), path, row_group_size=30)
            files.append({"path": path.name, "rows": len(some), "bytes": path.stat().st_size})
        found = choose(store, files, ["operator", "reason"], ["id", "absent"], 4, skip={"b"})
        assert (found.seen, found.rows) == (500, 500)
        chosen.append({group: [row.values["id"] for row in some] for group, some in found.spread.items()})
        for group, some in found.spread.items():
            assert all((row.values["operator"], row.values["reason"]) == group for row in some)
            assert all(rows[int(row.values["id"])]["doc_key"] == row.doc_key for row in some)
    assert chosen[0] == chosen[1]
    assert {group: len(some) for group, some in chosen[0].items()} == {("a", "0"): 4, ("a", "1"): 4, ("a", "2"): 4}


def test_sizes_of_sets_count_each_set_once():
    """Three removed for one are one set of four; many sizes are joined by their first two digits."""
    assert sizes({3: 3, 1: 5}) == ((2, 5), (4, 1))
    assert sizes({1: 10}, scale=2.5) == ((2, 25),)
    many = sizes({number: number for number in range(1, 1000)})
    assert len(many) < 200
    assert sum(number for _, number in many) == 999
