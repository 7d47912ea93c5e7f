"""A dry run tells what the real run does: of a whole input exactly, of any input without writing anything, with a run's own errors."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import takedowns
import warcs
from corpora import SHARED_TEXT, config_of, custom, documents, hive_corpus, pipeline, write_jsonl, write_parquet

from pipelines import chain
from pipelines.cli import main
from pipelines.config import PipelineConfig
from pipelines.dryrun import dry_run
from pipelines.dryrun_observer import Seen
from pipelines.dryrun_text import dry_json
from pipelines.errors import ConfigError, InputError, ShardmillError, UnitError
from pipelines.report import dry_run_page
from pipelines.run import run
from pipelines.sampling import Bounds
from pipelines.study import DryRun

pytestmark = pytest.mark.usefixtures("no_fsync")

LENIENT = {"max_quarantined_fraction": 0.5}
COMPARING = [
    [{"type": "exact_dedup"}],
    [{"type": "exact_dedup", "keep": "longest", "num_duplicates": "copies", "within": ["lang"]}],
    [{"type": "url_dedup"}],
    [{"type": "minhash_dedup"}],
    [{"type": "line_dedup", "min_documents": 3}],
    [{"type": "paragraph_dedup", "min_documents": 3}],
    [{"type": "exact_dedup", "annotate": True}, {"type": "filter_where", "where": "score > 0.2"}],
    [{"type": "exact_dedup"}, {"type": "length_filter", "min_chars": 30}, {"type": "url_dedup"}, {"type": "sample", "rate": 0.7}],
]


@pytest.fixture(autouse=True)
def once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run, which is for the time alone, is left out but where a test asks for it."""
    if "twice" not in request.fixturenames:
        monkeypatch.setattr("pipelines.dryrun.MAX_AGAIN_SECONDS", -1.0)


@pytest.fixture
def twice() -> None:
    """As users have it."""


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where dry runs make their folders; each must be empty when they end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def corpus(folder: Path, number: int = 160) -> Path:
    """Two files of several row groups."""
    write_parquet(folder / "in" / "a.parquet", documents(number, 1))
    write_parquet(folder / "in" / "b.parquet", documents(number // 2, 2, "e"))
    return folder / "in"


def made(folder: Path, operators: list[dict[str, Any]], **sections: Any) -> PipelineConfig:
    sections.setdefault("execution", LENIENT)
    return config_of(folder / "p.yaml", f"{corpus(folder)}/*.parquet", folder / "out", operators, **sections)


def funnel(dry: DryRun) -> list[tuple[Any, ...]]:
    """Of each operator what a manifest has of it, too."""
    return [(one.name, one.rows_in, one.rows_out, dict(one.reasons)) for one in dry.operators]


def real_funnel(manifest: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    dropped = manifest["ledger"]["dropped"]
    return [(one["name"], one["rows_in"], one["rows_out"], dropped.get(one["name"], {})) for one in manifest["operators"]]


def assert_balances(dry: DryRun) -> None:
    rows = dry.input["documents"]
    for one in dry.operators:
        assert one.rows_in == rows
        assert one.rows_in == one.rows_out + sum(one.reasons.values()) + sum(one.quarantined.values())
        assert 0 <= one.keep_rate.low <= one.keep_rate.value <= one.keep_rate.high <= 1
        rows = one.rows_out
    assert 0 <= dry.kept.low <= dry.kept.value <= dry.kept.high <= 1


# --- the truth


@pytest.mark.parametrize("operators", COMPARING, ids=lambda operators: "-".join(operator["type"] for operator in operators))
def test_of_a_whole_input_it_is_the_real_run(tmp_path, operators):
    """Where the sample is the whole input, the funnel is exactly the ledger of the real run, with intervals of no width."""
    config = made(tmp_path, operators)
    dry = dry_run(config, documents=10_000)
    assert dry.input["is_census"]
    manifest = run(config).manifest
    assert funnel(dry) == real_funnel(manifest)
    assert dry.kept.value == pytest.approx(manifest["output"]["rows"] / manifest["input"]["rows"])
    assert all(one.keep_rate.low == one.keep_rate.high and not one.is_corrected for one in dry.operators if one.rows_in)
    assert_balances(dry)


def test_hive_folders_both_formats_and_damage(tmp_path):
    """Path columns are there, rows that are no documents are told, and the funnel is that of the real run."""
    operators = [{"type": "filter_where", "where": "dump == '2024-01' or score > 0.5"}, {"type": "exact_dedup", "within": ["dump"]}]
    config = config_of(
        tmp_path / "p.yaml",
        str(hive_corpus(tmp_path / "in")),
        tmp_path / "out",
        operators,
        input={"path_columns": ["dump"]},
        execution=LENIENT,
    )
    dry = dry_run(config, documents=10_000)
    manifest = run(config).manifest
    assert funnel(dry) == real_funnel(manifest)
    assert dry.kept.value == pytest.approx(manifest["output"]["rows"] / manifest["input"]["rows"])
    assert any("cannot be read as documents" in note for note in dry.notes)


@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_it(tmp_path, seed):
    """A smaller sample balances, tells where each document is, and is the same again."""
    config = made(tmp_path, [{"type": "length_filter", "min_chars": 30}, {"type": "exact_dedup"}, {"type": "minhash_dedup"}])
    dry = dry_run(config, documents=50, seed=seed)
    assert dry.input["documents"] == 50
    assert_balances(dry)
    assert [one.name for one in dry.operators] == ["length_filter", "exact_dedup", "minhash_dedup"]
    for example in dry.examples:
        document = example.document
        table = pq.read_table(document.uri)
        assert table["text"][document.row].as_py()[document.first_char :].startswith(document.text)
        assert table["id"][document.row].as_py() == document.id
    again = dry_run(config, documents=50, seed=seed)
    assert funnel(again) == funnel(dry)
    assert again.examples == dry.examples
    assert again.pairs == dry.pairs
    assert again.thresholds == dry.thresholds


def test_other_seeds_draw_other_documents(tmp_path):
    """The seed draws the sample and the documents that are shown."""
    config = made(tmp_path, [{"type": "length_filter", "min_chars": 30}])
    first, second = (dry_run(config, documents=40, seed=seed).examples for seed in (1, 2))
    assert {(one.document.uri, one.document.row) for one in first} != {(one.document.uri, one.document.row) for one in second}


def test_duplicates_are_corrected(tmp_path):
    """Of a sample that hides duplicates the estimate says so, and is nearer to the truth than what the sample shows."""
    write_parquet(
        tmp_path / "in" / "a.parquet", [{**one, "text": f"text {position % 400}"} for position, one in enumerate(documents(1200))]
    )
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", [{"type": "exact_dedup"}])
    dedup = dry_run(config, documents=60).operators[0]
    assert dedup.rows_out / dedup.rows_in > 0.8  # few of the pairs are in the sample
    assert dedup.keep_rate.low <= 1 / 3 + 1e-9
    assert dedup.keep_rate.value < 0.5
    assert dedup.note


def test_damage_that_stands_together(tmp_path, monkeypatch):
    """Where a part of the row groups is read, what is kept is told with the error of how many of them are damaged."""
    rows = [{**one, "text": None if position // 25 % 5 == 0 else one["text"]} for position, one in enumerate(documents(3000))]
    write_parquet(tmp_path / "in" / "a.parquet", rows)
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", [], execution=LENIENT)
    monkeypatch.setattr("pipelines.dryrun.bounds_for", lambda _config: Bounds(min_clusters=15, max_clusters=15))
    monkeypatch.setattr("pipelines.sampling.BLOCK_BYTES", 1)  # so that the file's row groups are read one by one
    monkeypatch.setattr("pipelines.sampling.TAIL_BYTES", 0)
    held = 0
    for seed in range(8):
        dry = dry_run(config, documents=120, seed=seed)
        assert dry.input["row_groups"] <= 15
        held += dry.kept.low <= 0.8 <= dry.kept.high
        assert dry.kept.low < dry.kept.value
    assert held >= 7


@pytest.mark.parametrize("seed", range(3))
def test_behind_duplicates_that_a_sample_hides(tmp_path, seed):
    """What an operator keeps of what duplicates leave is told with an interval that holds for whatever the duplicates are like."""
    texts = [f"short {position % 80}" if position % 2 else f"a longer text that is there once, {position}" for position in range(1600)]
    rows = [{**one, "text": text} for one, text in zip(documents(1600), texts, strict=True)]
    write_parquet(tmp_path / "in" / "a.parquet", rows)
    operators = [{"type": "exact_dedup"}, {"type": "length_filter", "min_chars": 20}]
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", operators)
    dry = dry_run(config, documents=200, seed=seed)
    behind = dry.operators[1]
    assert behind.rows_out / behind.rows_in < 0.85  # half of the documents are copies of few, which the sample has once or twice
    assert behind.keep_rate.low <= 800 / 840 <= behind.keep_rate.high
    assert "duplicates that a sample hides" in behind.note
    assert dry.kept.low <= 800 / 1600 <= dry.kept.high


@pytest.fixture
def little_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Duplicates are looked for in a part of what is read, as of inputs that are larger than a test's."""
    monkeypatch.setattr("pipelines.dryrun_duplicates.WIDE_BYTES", 20_000)


def test_lines_that_the_sample_has_once_are_not_foreseen(tmp_path, little_wide):
    """Of an operator that cuts repeated lines the interval reaches down to what the whole input makes of it, where a sample shows less."""
    rows = [
        {**one, "text": f"a line that some have, and of these it is number {position % 150}"}
        for position, one in enumerate(documents(1500))
    ]
    write_parquet(tmp_path / "in" / "a.parquet", rows)
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", [{"type": "line_dedup", "min_documents": 3}])
    told = dry_run(config, documents=60).operators[0]
    truth = real_funnel(run(config).manifest)[0]
    assert told.is_corrected
    assert told.keep_rate.low <= truth[2] / truth[1] <= told.keep_rate.high
    assert told.keep_rate.value > truth[2] / truth[1]


def test_without_ids_documents_have_those_of_the_real_run(tmp_path):
    """Where the input has no ids, a dry run shows the ones that the output will have."""
    rows = [{"text": f"text number {position} of them"} for position in range(40)]
    write_jsonl(tmp_path / "in" / "a.jsonl", rows)
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", [{"type": "length_filter", "min_chars": 2}])
    shown = [(one.document.row, one.document.id) for one in dry_run(config, documents=20).examples]
    run(config)
    out = pq.read_table(next((tmp_path / "out" / "data").rglob("*.parquet")))
    assert shown
    assert all(out["id"][row].as_py() == name for row, name in shown)


def test_signals_are_measured_of_what_reaches_an_operator(tmp_path):
    """Thresholds are told of the documents that reach the operator, and examples carry their signals and marks."""
    config = made(tmp_path, [{"type": "length_filter", "min_chars": 6}, {"type": "gopher_quality", "min_doc_words": 12}])
    dry = dry_run(config, documents=10_000)
    words = next(one for one in dry.thresholds if one.limit.setting == "min_doc_words")
    gopher = dry.operators[1]
    assert words.rows_in == gopher.rows_in == dry.operators[0].rows_out
    assert words.looser.alone <= words.now.alone <= words.tighter.alone
    assert words.now.dropped == sum(gopher.reasons.values())
    assert {histogram.operator for histogram in dry.histograms} == {"length_filter", "gopher_quality"}
    short = next(one for one in dry.examples if one.reason == "gopher_short_doc")
    assert "12 wanted" in short.detail
    assert short.document.signals["gopher_quality.num_words"] < 12


def test_the_second_run_counts_for_its_time_alone(tmp_path, twice):
    """What is measured and shown is of one run, whether there is another or not."""
    config = made(tmp_path, [{"type": "gopher_quality", "min_doc_words": 12}, {"type": "exact_dedup"}])
    dry = dry_run(config, documents=10_000)
    assert {one.rows_in for one in dry.thresholds} == {240}
    assert all(sum(one.counts) + one.absent == 240 for one in dry.histograms)
    assert len({(one.document.uri, one.document.row) for one in dry.examples}) == len(dry.examples)


def test_thresholds_of_some_documents_are_said_to_be(tmp_path, monkeypatch):
    """Of more documents than signals are kept of, thresholds are told of the first ones, and a note says so."""
    monkeypatch.setattr("pipelines.threshold_study.MOST_DOCUMENTS", 30)
    dry = dry_run(made(tmp_path, [{"type": "length_filter", "min_chars": 6}]), documents=50)
    assert {one.rows_in for one in dry.thresholds} == {30}
    assert any("of the first 30 documents" in note and "the 20 after them" in note for note in dry.notes)


def test_pairs_show_what_was_removed_for_what(tmp_path):
    """Duplicates stand beside the document that stays, each where it is in the input."""
    dry = dry_run(made(tmp_path, [{"type": "exact_dedup"}]), documents=10_000)
    assert dry.pairs
    for pair in dry.pairs:
        texts = [pq.read_table(side.uri)["text"][side.row].as_py() for side in (pair.removed, pair.kept)]
        assert texts[0] == texts[1]
        assert (pair.removed.uri, pair.removed.row) > (pair.kept.uri, pair.kept.row)
    assert any(pair.removed.text == SHARED_TEXT for pair in dry.pairs)


# --- every kind of pipeline


def test_an_operator_of_ones_own_that_fails(tmp_path):
    """Documents that an operator cannot process are counted, shown with the error, and do not end a dry run."""
    mine = custom(tmp_path, 'if "de" in batch.column("lang").to_pylist():\n    raise ValueError("no German here")\nreturn Result(batch)')
    config = made(tmp_path, [mine, {"type": "exact_dedup"}], execution={})
    dry = dry_run(config, documents=10_000)
    assert dry.operators[0].quarantined["ValueError"] > 10
    assert_balances(dry)
    assert any(one.reason == "ValueError" and "no German here" in one.detail for one in dry.examples)
    assert any("max_quarantined_fraction" in note for note in dry.notes)
    with pytest.raises(ShardmillError):
        run(config)


def test_an_operator_that_learns(tmp_path):
    """A tokenizer that is trained on the way is trained on the sample, and what uses it works."""
    operators = [
        {"type": "train_tokenizer", "name": "ours", "vocab_size": 300, "sample_bytes": 100_000, "max_document_bytes": 1000},
        {"type": "tokenize", "tokenizer": "ours"},
    ]
    dry = dry_run(made(tmp_path, operators), documents=60)
    assert_balances(dry)
    assert dry.projection["output_tokens"]["value"] > 0


def test_web_pages(tmp_path):
    """WARC files are read and extracted; documents are shown as the operator that dropped them got them."""
    pages = [warcs.page(number) if number % 4 else warcs.page(number, "<html><body></body></html>") for number in range(1, 25)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.warc").write_bytes(b"".join(pages))
    config = config_of(
        tmp_path / "p.yaml",
        str(tmp_path / "in"),
        tmp_path / "out",
        [{"type": "extract_html", "extractor": "resiliparse"}],
        execution=LENIENT,
    )
    dry = dry_run(config, documents=10_000)
    assert funnel(dry) == real_funnel(run(config).manifest)
    assert next(one for one in dry.examples if one.reason == "empty_extraction").document.text.startswith("<html>")
    assert "<" not in next(one for one in dry.examples if one.operator is None).document.text


def test_a_datatrove_block(tmp_path):
    """Blocks of datatrove take part as they are."""
    pytest.importorskip("datatrove")
    operators = [{"type": "datatrove", "block": "GopherQualityFilter", "args": {"min_doc_words": 10}}]
    config = made(tmp_path, operators)
    dry = dry_run(config, documents=10_000)
    assert funnel(dry) == real_funnel(run(config).manifest)


def test_no_operator_at_all(tmp_path):
    """A pipeline that only copies keeps everything."""
    dry = dry_run(made(tmp_path, []), documents=20)
    assert dry.operators == ()
    assert (dry.kept.value, dry.kept.high) == (1.0, 1.0)


def test_of_very_many_files_some_are_looked_into(tmp_path, monkeypatch):
    """The rest is told as an estimate, and the projection is for the whole input."""
    monkeypatch.setattr("pipelines.sample_frame.MAX_FILES", 20)
    for number in range(200):
        write_parquet(tmp_path / "in" / f"{number:03}.parquet", documents(30, number, f"f{number}-"))
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", [{"type": "length_filter", "min_chars": 9}])
    dry = dry_run(config, documents=100)
    assert (dry.input["files"], dry.input["is_estimate"]) == (200, True)
    assert dry.input["rows"] == pytest.approx(6000, rel=0.1)
    assert dry.projection["output_rows"]["value"] == pytest.approx(dry.kept.value * dry.input["rows"], rel=0.01)
    assert dry.projection["input_bytes"] == dry.input["bytes"] == sum(path.stat().st_size for path in (tmp_path / "in").iterdir())


def test_an_input_without_documents(tmp_path):
    """Of an input without rows nothing can be told, and that is no error, as it is none of a run."""
    write_parquet(tmp_path / "in" / "a.parquet", [])
    operators = [{"type": "length_filter"}, {"type": "exact_dedup"}, {"type": "minhash_dedup"}]
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", operators)
    dry = dry_run(config)
    assert [(one.rows_in, one.rows_out) for one in dry.operators] == [(0, 0)] * 3
    json.dumps(dry_json(dry), allow_nan=False)


def test_an_output_without_the_text(tmp_path):
    """Where the output holds other columns, what stays is shown as it came."""
    dry = dry_run(made(tmp_path, [{"type": "length_filter"}], output={"columns": ["id"], "partition_by": ["id"]}), documents=20)
    shown = [one.document for one in dry.examples]
    assert shown
    assert all(pq.read_table(one.uri)["text"][one.row].as_py() == one.text for one in shown)


def test_columns_that_the_tables_have_too(tmp_path):
    """An input whose text column has the name of a column of the side tables is shown rightly."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"id": str(number), "reason": "word " * number} for number in range(1, 30)])
    operators = [{"type": "length_filter", "min_chars": 50}, {"type": "exact_dedup"}]
    config = config_of(tmp_path / "p.yaml", str(tmp_path / "in"), tmp_path / "out", operators, input={"text_column": "reason"})
    for example in dry_run(config, documents=100).examples:
        assert example.document.text == "word " * (example.document.row + 1)


# --- nothing is written, nothing is left


def test_nothing_is_written_and_nothing_left(tmp_path, temporary, twice):
    """The output is not touched, nor is anything left in the temporary folder."""
    config = made(tmp_path, [{"type": "exact_dedup"}])
    before = sorted(tmp_path.rglob("*"))
    dry_run(config, documents=40)
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(temporary.iterdir())


def test_an_output_that_may_not_be_written(tmp_path):
    """Nobody needs rights to the output to see what a pipeline would do."""
    config = made(tmp_path, [{"type": "length_filter"}], output={"uri": "/proc/nowhere/out"})
    assert dry_run(config, documents=40).input["documents"] == 40


def test_secrets_stay_where_they_are(tmp_path, monkeypatch):
    """An output that does not answer is told, without the password in its address."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secretive")
    monkeypatch.setattr("pipelines.dryrun_ground.MAX_SECONDS", 0.0)
    output = {"uri": "s3://nowhere/out", "storage_options": {"endpoint_url": "http://user:secretive@127.0.0.1:9"}}
    dry = dry_run(made(tmp_path, [{"type": "length_filter"}], output=output), documents=20)
    assert any("could not be seen" in note for note in dry.notes)
    assert "secretive" not in json.dumps(dry_json(dry)) + dry_run_page(dry)


@pytest.mark.parametrize("docs", [50, 10_000])
def test_documents_that_were_taken_out(shm_path, docs):
    """What was taken out of the output is not shown, though the input still has it, and does not count: as in the run that follows."""
    before = takedowns.made(shm_path)
    names = ["a6", "b30", "a0"]
    gone = [row["text"][:40] for row in before.rows() if row["id"] in names]
    takedowns.take(shm_path, names)
    config = takedowns.config(shm_path, [{"type": "length_filter", "min_chars": 30}, {"type": "exact_dedup"}])
    dry = dry_run(config, documents=docs)
    assert any("taken out of this output" in note for note in dry.notes)
    assert gone
    assert not any(text in dry_run_page(dry) for text in gone)
    assert not any(one.document.id in names for one in dry.examples)
    manifest = run(config).manifest
    truth = manifest["output"]["rows"] / manifest["input"]["rows"]
    if docs == 50:
        assert dry.kept.low <= truth <= dry.kept.high
    else:
        assert funnel(dry) == [one for one in real_funnel(manifest) if one[0] != "takedown"]
        assert dry.kept.low == dry.kept.value == dry.kept.high == pytest.approx(truth)


def test_what_a_finished_output_holds_stays_as_it_is(tmp_path):
    """Beside a finished version a dry run works and changes no byte."""
    config = made(tmp_path, [{"type": "exact_dedup"}], history=None)
    run(config)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()}
    dry_run(config, documents=40)
    assert {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, temporary, monkeypatch, capsys, number):
    """Ctrl-C, or being asked to end, ends it with 130 and leaves nothing."""
    path = pipeline(tmp_path / "p.yaml", f"{corpus(tmp_path)}/*.parquet", tmp_path / "out", [{"type": "length_filter"}])
    monkeypatch.setattr(Seen, "before", lambda *_: os.kill(os.getpid(), number))
    assert main(["dry-run", str(path), "--no-report"]) == 130
    assert not list(temporary.iterdir())
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr()
    assert "interrupted" in said.err
    assert said.out == ""


def test_normal_runs_are_not_watched(tmp_path, monkeypatch):
    """Once a dry run has ended nobody watches chains any more."""
    dry_run(made(tmp_path, [{"type": "length_filter"}]), documents=20)
    assert chain._OBSERVER.get() is None


# --- S3


def test_input_and_output_in_s3(tmp_path, s3_server):
    """A sample is read from S3 by the row groups it needs, and no object is written there."""
    bucket = s3_server.make_bucket()
    local = write_parquet(tmp_path / "a.parquet", documents(400, 5), group_rows=40)
    for number in range(3):
        s3_server.client().put_object(Bucket=bucket, Key=f"in/{number}.parquet", Body=local.read_bytes())
    options = {"storage_options": s3_server.options}
    config = config_of(
        tmp_path / "p.yaml", f"s3://{bucket}/in/*.parquet", f"s3://{bucket}/out", [{"type": "exact_dedup"}], input=options, output=options
    )
    dry = dry_run(config, documents=100)
    assert dry.input["files"] == 3
    assert dry.examples[0].document.uri.startswith(f"s3://{bucket}/in/")
    listed = s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in listed] == [f"in/{number}.parquet" for number in range(3)]


# --- errors


@pytest.mark.parametrize(
    ("operators", "sections", "error"),
    [
        ([{"type": "tokenize", "tokenizer": "nowhere/tokenizer.json"}], {}, ConfigError),
        ([{"type": "filter_where", "where": "nothing > 1"}], {}, UnitError),
        ([], {"input": {"text_column": "body"}}, InputError),
        ([], {"output": {"partition_by": ["nothing"]}}, InputError),
    ],
)
def test_the_errors_of_a_run(tmp_path, operators, sections, error):
    """What a run refuses before it starts, a dry run refuses in the same words."""
    config = made(tmp_path, operators, **sections)
    said = []
    for ending in (lambda: dry_run(config, documents=10), lambda: run(config)):
        with pytest.raises(error) as caught:
            ending()
        said.append(caught.value.message)
    assert said[0] == said[1]


def test_files_that_cannot_be_read(tmp_path):
    """A damaged file is told, or stops it, as in a run."""
    config = made(tmp_path, [], input={})
    (tmp_path / "in" / "c.parquet").write_bytes(b"PAR1 no PAR1")
    assert any("1 file of 3 cannot be read" in note for note in dry_run(config, documents=10).notes)
    strict = made(tmp_path, [], execution={"on_error": "fail"})
    with pytest.raises(InputError, match=r"c\.parquet"):
        dry_run(strict, documents=10)


def test_a_pipeline_that_stops_at_the_first_error(tmp_path):
    """With `on_error: fail` a dry run counts what cannot be processed, and says that the real run would stop."""
    mine = custom(tmp_path, 'if "d7" in batch.column("id").to_pylist():\n    raise ValueError("not this one")\nreturn Result(batch)')
    dry = dry_run(made(tmp_path, [mine], execution={"on_error": "fail"}), documents=10_000)
    assert dry.operators[0].quarantined == {"ValueError": 1}
    assert any("the real run would stop at the first" in note for note in dry.notes)


# --- the command


def test_json_is_one_object(tmp_path, capsys, twice):
    """`--json` prints the object of the contract and nothing else on standard output."""
    path = pipeline(
        tmp_path / "p.yaml",
        f"{corpus(tmp_path)}/*.parquet",
        tmp_path / "out",
        [{"type": "exact_dedup"}, {"type": "length_filter", "min_chars": 9}],
    )
    words = ["--docs", "50", "--seed", "3", "--json", "--no-report", "--cores", "64", "--price", "core-hour=0.04"]
    assert main(["dry-run", str(path), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found)[:2] == ["operators", "projection"]
    contract = {"name", "type", "rows_in", "rows_out", "keep_rate", "keep_rate_interval", "reasons"}
    for one in found["operators"]:
        assert contract <= set(one)
        low, high = one["keep_rate_interval"]
        assert 0 <= low <= one["keep_rate"] <= high <= 1
    assert found["projection"]["cores"] == 64
    assert found["projection"]["cost"]
    assert found["input"]["documents"] == 50
    assert found["input"]["seed"] == 3


def test_the_page_is_written_where_it_is_asked_for(tmp_path, capsys, monkeypatch):
    """The page goes beside where the command is run, to `--report`, or nowhere."""
    path = pipeline(tmp_path / "p.yaml", f"{corpus(tmp_path)}/*.parquet", tmp_path / "out", [{"type": "length_filter", "min_chars": 9}])
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["dry-run", str(path), "--docs", "20"]) == 0
    assert [file.name for file in here.iterdir()] == ["made-dry-run.html"]
    assert "Wrote made-dry-run.html." in capsys.readouterr().err
    assert main(["dry-run", str(path), "--docs", "20", "--report", str(tmp_path / "mine.html"), "--quiet"]) == 0
    assert (tmp_path / "mine.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["dry-run", str(path), "--docs", "20", "--report", "/proc/self/mine.html"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--docs", "0"],
        ["--seed", str(1 << 200)],
        ["--report", "x", "--no-report"],
        ["--report", "/proc"],
        ["--report", "/proc/nowhere/page.html"],
        ["--price", "gold=3"],
        ["--set", "operators.nobody.x=1"],
    ],
)
def test_wrong_words(tmp_path, words, capsys):
    """What is wrong with the command's words is told before anything is read, with exit status 2."""
    path = pipeline(tmp_path / "p.yaml", tmp_path / "nothing" / "*.parquet", tmp_path / "out", [{"type": "length_filter"}])
    assert main(["dry-run", str(path), *words]) == 2
    assert capsys.readouterr().out == ""


def test_an_override_counts(tmp_path, capsys):
    """`--set` changes a setting for one dry run."""
    path = pipeline(tmp_path / "p.yaml", f"{corpus(tmp_path)}/*.parquet", tmp_path / "out", [{"type": "length_filter", "min_chars": 1}])
    kept = []
    for value in ("1", "50"):
        words = ["--docs", "1000", "--json", "--no-report", "--set", f"operators.length_filter.min_chars={value}"]
        assert main(["dry-run", str(path), *words]) == 0
        kept.append(json.loads(capsys.readouterr().out)["operators"][0]["keep_rate"])
    assert kept[0] > kept[1]


def test_the_object_of_json_has_no_numbers_that_json_lacks(tmp_path):
    """Infinite and undefined numbers are no JSON."""
    dry = dry_run(
        made(tmp_path, [{"type": "length_filter", "min_chars": 100_000}, {"type": "exact_dedup"}, {"type": "gopher_quality"}]), documents=60
    )
    json.dumps(dry_json(dry), allow_nan=False)
    assert dry.operators[-1].rows_in == 0
    assert dry.operators[-1].keep_rate.low == 0


def test_one_that_fails_leaves_nothing(tmp_path, temporary):
    """A dry run that fails leaves no folder."""
    config = made(tmp_path, [custom(tmp_path, "return Result(batch.slice(1))")])
    with pytest.raises(ShardmillError):
        dry_run(config, documents=20)
    assert not list(temporary.iterdir())


# --- what earlier runs left


@pytest.mark.parametrize("kind", ["exact_dedup", "minhash_dedup"])
def test_a_history_is_compared_with_and_left_alone(tmp_path, kind):
    """Documents that an earlier run kept are duplicates to a dry run, as to the run; nothing is left in the history."""
    first = config_of(tmp_path / "1.yaml", str(corpus(tmp_path / "one")), tmp_path / "out1", [{"type": kind}], execution=LENIENT)
    shared = {"history": str(tmp_path / "history")}
    first = first.model_copy(update=shared)
    run(first)
    again = [*documents(160, 1)[:80], *documents(60, 77, "n")]
    write_parquet(tmp_path / "two" / "in" / "c.parquet", again)
    second = config_of(tmp_path / "2.yaml", str(tmp_path / "two" / "in"), tmp_path / "out2", [{"type": kind}], execution=LENIENT)
    second = second.model_copy(update=shared)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "history").rglob("*")) if path.is_file()}
    part = dry_run(second, documents=70).operators[0]
    whole = dry_run(second, documents=10_000)
    assert {path: path.read_bytes() for path in sorted((tmp_path / "history").rglob("*")) if path.is_file()} == before
    manifest = run(second).manifest
    assert funnel(whole) == real_funnel(manifest)
    truth = manifest["operators"][0]["rows_out"] / manifest["operators"][0]["rows_in"]
    assert truth < 0.6
    assert part.keep_rate.low <= truth <= part.keep_rate.high
    repeated = dry_run(first, documents=10_000)  # its own documents are no duplicates of themselves
    assert repeated.operators[0].rows_out == run(first).manifest["operators"][0]["rows_out"]
    third = config_of(
        tmp_path / "3.yaml", str(tmp_path / "one" / "in" / "b.parquet"), tmp_path / "out3", [{"type": kind}], execution=LENIENT
    )
    third = third.model_copy(update=shared)  # one of the files that the first run read: its documents do not count, those of the other do
    assert funnel(dry_run(third, documents=10_000)) == real_funnel(run(third).manifest)
