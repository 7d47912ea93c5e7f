"""A document that was taken out of an output does not come back through a later run, however it comes in; and the accounting says so."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from changing import everything
from corpora import custom, differences, files_of, prove, write_jsonl
from history_made import EXACT
from history_made import Project as Batches
from pipelines_made import Runs, contents, orphans, same, write_input, write_pipeline
from taken_made import LENGTH, Project, copy_of, hash_of, key_of, output_of, rows_named, stone, table_of, taken, texts

from pipelines import faults
from pipelines.commit import PLAN, unsealed
from pipelines.errors import InputChanged, InputError, UnitError
from pipelines.executors import executor_for
from pipelines.fingerprint import engine_facts, fingerprint
from pipelines.gc import collect_output
from pipelines.plan import make_plan
from pipelines.prepare import prepare
from pipelines.run import run
from pipelines.status import render_status, status
from pipelines.storage import open_store
from pipelines.survey import render, survey
from pipelines.tombstones import add_tombstones, load_tombstones, tombstones_of
from pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def project(tmp_path) -> Project:
    """Two files of twelve documents, and a first version."""
    made = Project(tmp_path)
    made.save("a", rows_named("a", 12))
    made.save("b", rows_named("b", 12))
    made.run()
    return made


# --- how a document comes in again


def test_a_document_of_the_same_file_stays_out(project):
    """A file is added, the others are as they were: the document is found by its place, though nothing is known of its text."""
    project.strike(project.stone("a", 3))
    project.save("c", rows_named("c", 4))
    found = project.run()
    assert found.manifest["version"] == "v2"
    assert taken(found) == [("a", 3)]
    assert "a says 3" not in texts(found)
    assert len(texts(found)) == 27
    assert found.manifest["ledger"]["dropped"] == {"takedown": {"taken_down": 1}}


def test_a_document_of_a_renamed_file_stays_out(project):
    """Its doc_key is another, its text the same."""
    project.strike(project.stone("a", 3, "a says 3"))
    (project.source / "a.parquet").rename(project.source / "z.parquet")
    assert taken(project.run()) == [("z", 3)]


def test_every_copy_of_a_document_stays_out(project):
    """Other files have the same text, and one has it as it stood in the shards."""
    project.strike(project.stone("a", 3, "a says 3", "A SAYS 3"))
    project.save("c", rows_named("c", 9, _0="a says 3", _5="A SAYS 3", _6="A says 3", _8="a says 3"))
    found = project.run()
    assert taken(found) == [("a", 3), ("c", 0), ("c", 5), ("c", 8)]
    assert "A says 3" in texts(found)


def test_in_a_rewritten_file_the_document_is_found_by_its_text_not_its_place(project):
    """Rows were put in front: another document has the place now, and stays."""
    project.strike(project.stone("a", 3, "a says 3"))
    project.save("a", [*rows_named("new", 2), *rows_named("a", 12)])
    found = project.run()
    assert taken(found) == [("a", 5)]
    assert "a says 1" in texts(found)


def test_a_place_without_an_etag_is_left_out_whatever_the_file_is(project):
    """Where nobody knows which file it was, the place counts for ever."""
    project.strike(stone(key_of(project.source / "a.parquet", 3)))
    project.save("a", rows_named("other", 12))
    assert taken(project.run()) == [("a", 3)]


def test_a_text_that_operators_edit_is_known_as_it_came_in_and_as_it_was_written(tmp_path):
    """The raw text of one copy, and the edited text that another came with, are both known."""
    project = Project(tmp_path, [{"type": "normalize_text", "collapse_spaces": True}, LENGTH])
    project.save("a", rows_named("a", 6, _2="a   text  with   spaces"))
    first = project.run()
    assert "a text with spaces" in texts(first)
    project.strike(project.stone("a", 2, "a   text  with   spaces", "a text with spaces"))
    project.save("b", rows_named("b", 6, _1="a text with spaces", _4="a   text  with   spaces", _5="a  text with spaces"))
    found = project.run()
    assert taken(found) == [("a", 2), ("b", 1), ("b", 4)]


def test_empty_texts_and_nulls_are_known_by_their_places_alone(tmp_path):
    """Of several documents without text the one that was taken out goes; the others have nothing to do with it."""
    project = Project(tmp_path, [custom(tmp_path, "return Result(batch)")], {"execution": {"max_quarantined_fraction": 1.0}})
    project.save("a", rows_named("a", 8, _1="", _2=None, _3="", _4=None))
    project.run()
    project.strike(project.stone("a", 1, "", ""), project.stone("a", 5, None, None))
    project.save("b", rows_named("b", 3, _0="", _1=None))
    found = project.run()
    assert taken(found) == [("a", 1), ("a", 5)]
    assert texts(found).count("") == 2
    assert found.manifest["ledger"]["quarantined"] == {"null_text": 3}


def test_documents_of_lines_without_ids_are_found_by_their_line(tmp_path):
    """Lines that are no documents count in the numbering; the id that the drop table tells is the doc_key."""
    project = Project(tmp_path, sections={"execution": {"max_quarantined_fraction": 0.5}})
    path = write_jsonl(project.source / "l.jsonl.gz", [{"text": f"line {n}"} if n != 2 else b"{broken" for n in range(9)])
    add_tombstones(project.store, table_of([stone(key_of(path, 2)), stone(key_of(path, 5)), stone(key_of("/gone", 1), None, "line 7")]))
    found = project.run()
    dropped = found.table("dropped")
    assert [(row["row"], row["reason"]) for row in dropped] == [(5, "taken_down"), (7, "taken_down")]
    assert [row["id"] for row in dropped] == [key_of(path, row).hex() for row in (5, 7)]
    assert [row[2] for row in found.quarantined()] == [2]


# --- what is written down


@pytest.mark.parametrize("carried", [True, False])
def test_the_drop_table_names_the_document_and_tells_nothing_else_of_it(tmp_path, carried):
    """With `output.dropped` other dropped rows carry the input's columns; those of documents that were taken out are null."""
    project = Project(tmp_path, [{"type": "length_filter", "min_chars": 9}], {"output": {"dropped": carried}})
    project.save("a", rows_named("a", 12))
    project.run()
    project.strike(project.stone("a", 10, "a says 10"))
    project.save("b", rows_named("b", 2, _0="a says 10"))
    rows = project.run().table("dropped")
    mine = [row for row in rows if row["operator"] == "takedown"]
    assert [(row["id"], row["row"], row["reason"]) for row in mine] == [("a10", 10, "taken_down"), ("b0", 0, "taken_down")]
    assert [row["doc_key"] for row in mine] == [key_of(row["uri"], row["row"]) for row in mine]
    assert [row.get("secret") for row in mine] == [row.get("text") for row in mine] == [None, None]
    others = [row for row in rows if row["operator"] == "length_filter"]
    assert len(others) == 11
    assert all((row.get("secret") is not None) == carried for row in others)


def test_manifest_card_report_and_funnel_say_it_first(project):
    """The entry stands before all operators, with the number and digest of the tombstones, and everybody adds up (`prove` verifies)."""
    project.strike(project.stone("a", 3, "a says 3"), project.stone("b", 1))
    project.save("c", rows_named("c", 4))
    found = project.run()
    entries = found.manifest["operators"]
    assert [entry["name"] for entry in entries] == ["takedown", "length_filter"]
    digest = load_tombstones(project.store).digest
    assert entries[0]["type"] == "takedown"
    assert entries[0]["settings"] == {"tombstones": digest, "num_tombstones": 2}
    assert (entries[0]["rows_in"], entries[0]["rows_out"]) == (28, 26)
    assert (entries[1]["rows_in"], entries[1]["rows_out"]) == (26, 26)
    card = (project.root / "README.md").read_text()
    assert "| `takedown` | 28 | 2 | 0 | 26 |" in card
    assert "| `takedown` | `taken_down` | 2 |" in card
    report = (found.folder / "report.html").read_text()
    assert "takedown" in report
    assert "taken_down" in report
    shown = "\n".join(render_status(status(str(project.root))))
    assert "stage 1 of 1 (takedown, length_filter)" in shown


@pytest.mark.parametrize("damage", ["operators", "ledger"])
def test_verify_sees_what_is_wrong_about_it(project, damage):
    """The rows of the entry and of the ledger are those of the drop table."""
    project.strike(project.stone("a", 3))
    project.save("c", rows_named("c", 4))
    found = project.run()
    manifest = json.loads((project.root / "manifest.json").read_bytes())
    if damage == "operators":
        manifest["operators"] = manifest["operators"][1:]
    else:
        manifest["ledger"]["dropped"]["takedown"]["taken_down"] = 0
    for path in (project.root / "manifest.json", found.folder / "manifest.json"):
        path.chmod(0o644)
        path.write_text(json.dumps(manifest))
    assert not verify(str(project.root)).ok


# --- documents that were taken out decide nothing


def test_neither_dedup_nor_history_knows_a_document_that_was_taken_out(tmp_path):
    """It was the kept one of three: its copy by words stays for it, and no later run removes anything for it."""
    batches = Batches(tmp_path, [EXACT])
    original, copy = "Some Words, that are shared!", "some words that are shared"
    project = Project(tmp_path, [EXACT])
    path = project.save("a", rows_named("a", 6, _2=original, _4=copy))
    one = batches.config("one", [str(project.source) + "/"])
    run(one)
    store = open_store(one.output.uri)
    add_tombstones(store, table_of([stone(key_of(path, 2), None, original)]))
    project.save("b", rows_named("b", 3, _0=original))
    run(one)
    found = batches.output("one")
    prove(found)
    assert taken(found) == [("a", 2), ("b", 0)]
    assert copy in texts(found)
    other = Project(tmp_path / "other")
    other.save("c", rows_named("c", 3, _1=original))
    run(batches.config("two", [str(other.source) + "/"]))
    assert [row["kept_doc_key"] for row in batches.output("two").table("duplicates")] == [key_of(path, 4)]


def test_a_tokenizer_never_learns_from_a_document_that_was_taken_out(tmp_path):
    """What is learned is what is learned without the document in the input."""
    operators = [{"type": "train_tokenizer", "vocab_size": 300, "name": "ours"}, {"type": "tokenize", "tokenizer": "ours"}]
    draw = random.Random(1)
    words = [f"{draw.choice('aeiou')}{draw.choice('lmnr')}{draw.choice('aeiou')}" for _ in range(50)]
    rows = rows_named("a", 20, **{f"_{n}": " ".join(draw.choices(words, k=30)) if n != 7 else "zqx " * 200 for n in range(20)})
    project = Project(tmp_path, operators)
    path = project.save("a", rows)
    add_tombstones(project.store, table_of([stone(key_of(path, 7))]))
    found = project.run()
    without = Project(tmp_path / "without", operators)
    without.save("a", [row for row in rows if row["id"] != "a7"])
    assert taken(found) == [("a", 7)]
    assert [row["text"] for row in found.rows()] == [row["text"] for row in without.run().rows()]
    learned, reference = ((one.root / one.manifest["learned"][0]["path"]).read_bytes() for one in (found, output_of(without.root)))
    assert b"zq" not in learned
    assert json.loads(learned)["model"]["vocab"] == json.loads(reference)["model"]["vocab"]


# --- nothing depends on the machine, and a stop changes nothing


def _struck(folder: Path) -> Project:
    project = Project(folder, [LENGTH, {"type": "exact_dedup"}])
    for name in "abc":
        project.save(name, rows_named(name, 23, _5="shared by all", _11="another that all share", _13=f"x{name}" * 30))
    project.strike(
        *(stone(key_of(project.source / f"{name}.parquet", row)) for name in "ac" for row in (0, 4, 5, 22)),
        stone(key_of("/elsewhere", 0), None, "another that all share"),
    )
    return project


def test_units_and_batches_do_not_show_in_what_is_left_out(tmp_path):
    """The same files, byte for byte, whatever the sizes."""
    project = _struck(tmp_path)
    shutil.copytree(project.root, tmp_path / "kept")
    expected = files_of(project.run().root)
    assert len(taken(output_of(project.root))) == 11
    for unit, batch in (("1MiB", "1MiB"), ("3KiB", "1KiB"), ("1MiB", "1KiB")):
        shutil.rmtree(project.root)
        shutil.copytree(tmp_path / "kept", project.root)
        project.sections = {"execution": {"unit_bytes": unit, "batch_bytes": batch}}
        assert differences(files_of(project.run().root), expected) == []


class _KilledError(BaseException):
    """Ends a run as a kill does: nothing catches it."""


@pytest.mark.parametrize(
    "point", ["unit.begin", "unit.parts-written", "commit.after-record", "run.stage-done", "version.claimed", "version.manifest-written"]
)
def test_a_run_that_was_stopped_goes_on_and_leaves_the_same(project, tmp_path, monkeypatch, point):
    """Wherever it stops, the second try ends with what an undisturbed run gives."""
    project.strike(project.stone("a", 3, "a says 3"), project.stone("b", 1))
    project.save("c", rows_named("c", 30, _7="a says 3"))
    shutil.copytree(project.folder, tmp_path / "kept")
    expected = files_of(project.run().root)
    shutil.rmtree(project.root)
    shutil.copytree(tmp_path / "kept" / "out", project.root)
    passed = []

    def stop(name: str) -> None:
        passed.append(name)
        if name == point and passed.count(name) == (2 if name.startswith(("unit", "commit")) else 1):
            raise _KilledError

    monkeypatch.setattr(faults, "point", stop)
    with pytest.raises(_KilledError):
        run(project.config)
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    assert differences(files_of(project.run().root), expected) == []
    assert [path for path in orphans(project.store) if "stages/" not in path] == []


def test_a_killed_process_loses_nothing(shm_path):
    """SIGKILL in the middle of the second run, with dedup, quarantine and a custom operator in the pipeline."""
    source = write_input(shm_path / "in")
    pipeline = write_pipeline(shm_path, source, str(shm_path / "out"))
    runs = Runs(pipeline, shm_path / "runs")
    runs.finish()
    rows = pq.read_table(source / "part-1.parquet").to_pylist()
    stones = [stone(key_of(source / "part-1.parquet", row), None, rows[row]["text"]) for row in (0, 1, 2, 30)]
    add_tombstones(runs.store(), table_of(stones))
    write_input(source, files=4)
    shutil.copytree(shm_path / "out", shm_path / "kept")
    runs.finish()
    expected = contents(runs.store())
    shutil.rmtree(shm_path / "out")
    shutil.copytree(shm_path / "kept", shm_path / "out")
    assert runs.run("commit.before-record@3=kill").process.exitcode == -9
    runs.finish()
    assert same(contents(runs.store()), expected) == []
    assert orphans(runs.store()) == []
    prove(output_of(shm_path / "out"))
    assert len(taken(output_of(shm_path / "out"))) >= 4


def test_it_is_the_same_on_s3(tmp_path, s3_server):
    """Tombstones are objects like all others; verify passes."""
    target = f"s3://{s3_server.make_bucket()}/out"
    project = Project(tmp_path, sections={"output": {"storage_options": s3_server.options}}, target=target)
    project.save("a", rows_named("a", 12))
    run(project.config)
    first = project.strike(project.stone("a", 3, "a says 3"))
    assert project.strike(project.stone("a", 3, "a says 3")) == first
    project.save("b", rows_named("b", 12, _4="a says 3"))
    made = run(project.config).manifest
    assert (made["version"], made["ledger"]["dropped"]) == ("v2", {"takedown": {"taken_down": 2}})
    assert verify(target, storage_options=s3_server.options).ok
    assert run(project.config).was_finished


# --- what runs again


def test_without_tombstones_nothing_is_different(project):
    """Neither fingerprints nor facts say a word of them, so that no output is made again."""
    with executor_for(project.config) as started:
        prepared = prepare(project.config, started)
    plan = make_plan(prepared.ingredients, prepared.inventory, ())
    (stage,) = plan.stages
    assert set(stage.facts) == {"operators", "engine", "dropped", "explained", "read", "columns", "partition_by", "after", "documents_by"}
    assert set(stage.facts["read"]) == {"text_column", "id_column", "made_id", "path_columns", "format", "schema"}
    assert plan.fingerprints["inputs"] == fingerprint({"inventory": prepared.inventory.fingerprint, "assets": {}})
    assert stage.operators == ("length_filter",)
    assert {"taken_out", "tombstones"} <= set(_engine_modules())
    before = everything(project.folder)
    assert run(project.config).was_finished
    assert everything(project.folder) == before
    assert "taken out" not in "\n".join(render(survey(project.config)))


def _engine_modules() -> tuple[str, ...]:
    from pipelines.fingerprint import ENGINE_MODULES

    assert engine_facts()["code"]
    return ENGINE_MODULES


def test_after_a_takedown_the_same_input_has_nothing_to_do(project):
    """The version has the fingerprints of the one before, and every tombstone is covered: for all commands it is finished."""
    project.strike(project.stone("a", 3, "a says 3"))
    assert not survey(project.config).is_finished
    made = project.taken_version(1)
    before = everything(project.root)
    result = run(project.config)
    assert result.was_finished
    assert result.manifest == made
    assert everything(project.root) == before
    found = survey(project.config)
    assert found.is_finished
    assert found.taken_out == found.to_json()["taken_out"] == 1
    lines = render(found)
    assert "1 document taken out of this output: a run leaves out every one that it meets again" in lines
    assert lines[-1].startswith("finished: ")
    assert status(str(project.root))["state"] == "finished"


def test_after_a_takedown_new_input_makes_a_version_without_the_document(project):
    """Every unit is read again, as its text may be anywhere, and `plan` says why."""
    project.strike(project.stone("a", 3, "a says 3"))
    project.taken_version(1)
    project.save("c", rows_named("c", 3, _1="a says 3"))
    found = survey(project.config)
    assert not found.is_finished
    assert found.stages[0].committed == 0
    why = "documents were taken out since: each is looked for by its text, which may be anywhere"
    assert found.stages[0].why == [why]
    assert f"  runs because {why}" in render(found)
    assert any(line.startswith("stage 1 of 1: takedown, length_filter: 0 of ") for line in render(found))
    result = project.run()
    assert result.manifest["version"] == "v3"
    assert taken(result) == [("a", 3), ("c", 1)]
    assert run(project.config).was_finished


def test_takedowns_after_takedowns_count_all_together(project):
    """A version that a run made with tombstones, and others taken out of it: finished again; one more that is in no version: not."""
    project.strike(project.stone("a", 3, "a says 3"))
    project.taken_version(1)
    project.save("c", rows_named("c", 3))
    project.run()
    project.strike(project.stone("b", 2, "b says 2"))
    assert not survey(project.config).is_finished
    made = project.taken_version(1)
    assert [entry["name"] for entry in made["operators"]] == ["takedown", "length_filter", "takedown-2"]
    assert run(project.config).was_finished
    assert run(project.config).manifest["version"] == "v4"
    project.strike(project.stone("b", 5, "b says 5"))
    found = project.run()
    assert found.manifest["version"] == "v5"
    assert taken(found) == [("a", 3), ("b", 2), ("b", 5)]


def test_tombstones_without_a_version_are_honoured_by_the_next_run(project):
    """A takedown died after it wrote them: the run of the same input makes the version that it did not."""
    project.strike(project.stone("a", 3, "a says 3"))
    found = project.run()
    assert found.manifest["version"] == "v2"
    assert taken(found) == [("a", 3)]


def test_a_changed_pipeline_honours_them_too(project):
    """Also where intermediate files of before are kept: they hold the document, and are not used."""
    project.sections = {"execution": {"keep_intermediates": "latest", "unit_bytes": "1KiB", "batch_bytes": "1KiB"}}
    project.run()
    project.strike(project.stone("a", 3, "a says 3"))
    project.taken_version(1)
    project.operators = [LENGTH, {"type": "exact_dedup"}]
    found = survey(project.config)
    assert found.stages[0].committed == 0
    assert found.stages[0].why[-1].startswith("documents were taken out since")
    assert taken(project.run()) == [("a", 3)]


def test_a_run_that_died_before_it_left_its_keys_leaves_them_without_the_document(tmp_path):
    """The version is finished, its keys are not in the history: they are left by a run that has the tombstones."""
    batches = Batches(tmp_path, [EXACT])
    source = Project(tmp_path)
    path = source.save("a", rows_named("a", 6))
    config = batches.config("one", [str(source.source) + "/"])
    run(config)
    shutil.rmtree(tmp_path / "history")
    project = Project(tmp_path, [EXACT], target=config.output.uri)
    project.strike(stone(key_of(path, 2), None, "a says 2"))
    project.taken_version(1)
    result = run(config)
    assert (result.was_finished, result.manifest["version"]) == (False, "v3")
    other = Project(tmp_path / "other")
    other.save("c", rows_named("c", 3, _0="a says 1", _1="a says 2"))
    run(batches.config("two", [str(other.source) + "/"]))
    assert [row["kept_doc_key"] for row in batches.output("two").table("duplicates")] == [key_of(path, 1)]
    assert run(config).was_finished


def test_documents_that_are_taken_out_while_a_run_is_planned_stop_it(project, monkeypatch):
    """It would bring them back; started again, it leaves them out."""
    project.save("c", rows_named("c", 3))
    inner = open_store(str(project.root))
    import pipelines.run as module

    class Late(module.Lease):
        def __enter__(self):
            add_tombstones(inner, table_of([stone(key_of(project.source / "a.parquet", 3))]))
            return super().__enter__()

    monkeypatch.setattr(module, "Lease", Late)
    with pytest.raises(InputChanged, match="documents were taken out while this run was planned; start it again"):
        run(project.config)
    monkeypatch.undo()
    assert taken(project.run()) == [("a", 3)]


def test_damaged_tombstones_stop_a_run_before_it_starts(project):
    """Nothing is written, and `plan` says the same."""
    path = project.root / project.strike(project.stone("a", 3))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    before = everything(project.folder)
    for command in (run, survey):
        with pytest.raises(InputError, match=r"t00001\.arrow cannot be read"):
            command(project.config)
    assert everything(project.folder) == before


def test_gc_never_removes_tombstones(project):
    """They are for ever."""
    project.strike(project.stone("a", 3))
    collect_output(str(project.root))
    assert len(tombstones_of(project.store)) == 1


def test_with_on_error_fail_only_documents_that_are_left_can_fail(tmp_path):
    """A document that no operator can process is taken out: the run goes on without it."""
    body = 'if "a says 3" in batch.column("text").to_pylist():\n    raise ValueError("this one")\nreturn Result(batch)'
    project = Project(tmp_path, [custom(tmp_path, body)], {"execution": {"on_error": "fail"}})
    path = project.save("a", rows_named("a", 12))
    with pytest.raises(UnitError, match="this one"):
        run(project.config)
    add_tombstones(project.store, table_of([stone(key_of(path, 3))]))
    found = project.run()
    assert taken(found) == [("a", 3)]
    assert found.manifest["ledger"]["quarantined"] == {}
    assert hash_of("a says 3") not in load_tombstones(project.store).hashes


def test_a_plan_with_tombstones_is_another_plan(project):
    """They are among its inputs, not in its settings; what is written down of the plan says which stage looks for them."""
    other = copy_of(project, "other")
    other.run()
    project.strike(project.stone("a", 3))
    found = project.run()
    assert found.manifest["fingerprints"]["config"] == json.loads((other.root / "manifest.json").read_bytes())["fingerprints"]["config"]
    facts = [stage["facts"] for stage in unsealed((project.root / PLAN).read_bytes())["stages"]]
    assert facts[0]["taken_out"] == load_tombstones(project.store).digest
    assert "taken_out" not in facts[0]["read"]
    assert found.manifest["fingerprints"]["inputs"] != output_of(other.root).manifest["fingerprints"]["inputs"]
