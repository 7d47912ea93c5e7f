"""Work is known by what went in: a change re-runs what depends on it and nothing else, and `plan` says so beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from changing import Project, everything, save, sayings
from corpora import config_of, custom, differences, files_of, finished, write_jsonl

from pipelines.commit import PLAN, unsealed
from pipelines.errors import BudgetExceeded, InputChanged, UnitError
from pipelines.run import run
from pipelines.survey import render

pytestmark = pytest.mark.usefixtures("no_fsync")


# --- nothing changed


@pytest.mark.parametrize("keep", ["none", "latest"])
def test_a_second_run_does_nothing(project, keep):
    """It writes no file, and says that the output is finished; so does the plan before it."""
    project.execution["keep_intermediates"] = keep
    first = project.run()
    found = project.survey()
    assert found.is_finished
    assert render(found)[-1] == "finished: the same input, pipeline and code made the current version; a run would do nothing"
    assert (found.requests, found.intermediate_bytes) == (0, 0)
    before = everything(project.folder)
    again = run(project.config)
    assert again.was_finished
    assert again.manifest == first.manifest
    assert everything(project.folder) == before


def test_before_the_first_run_everything_is_missing(project):
    """The plan tells the stages, their operators and units, and that the input is all there; it makes no folder for the output."""
    found = project.survey()
    assert not project.root.exists()
    assert not found.is_finished
    assert (found.input["files"], found.input["rows"]) == (5, 150)
    assert found.input_changes == {}
    assert [stage.operators for stage in found.stages] == [["length_filter", "exact_dedup"], ["exact_dedup", "filter_where"]]
    assert [(stage.committed, stage.why) for stage in found.stages] == [(0, []), (0, [])]
    lines = render(found)
    assert lines[1].startswith("input: 5 files, 150 rows, ")
    assert lines[2] == f"stage 1 of 2: length_filter, exact_dedup: 0 of {found.stages[0].units} units are committed"
    assert lines[3] == f"stage 2 of 2: exact_dedup, filter_where: {found.stages[0].units} units, after the stage before"
    project.run()
    assert len(project.attempts(0)) == len(project.attempts(1)) == found.stages[0].units > 5


def test_what_was_committed_before_a_stop_is_not_done_again(project):
    """A run that failed goes on where it was, even cut into other units, and gives what an undisturbed one gives."""
    flag = project.folder / "flag"
    body = f"""
import os
from pipelines.errors import UnitError
if batch.num_rows and not os.path.exists({str(flag)!r}) and "d1" in batch.column("id").to_pylist():
    raise UnitError("stopped")
return Result(batch)
"""
    project.operators.append(dict(custom(project.folder, body)))
    with pytest.raises(UnitError, match="stopped"):
        run(project.config)
    before = [project.attempts(0), project.attempts(1)]
    assert len(before[0]) > len(before[1]) > 0
    found = project.survey()
    assert (found.stages[0].committed, found.stages[1].committed) == (len(before[0]), len(before[1]))
    assert found.stages[0].exchange == found.stages[0].exchange_committed > 0
    assert f"stage 2 of 2: exact_dedup, filter_where, mine: {len(before[1])} of {len(before[0])} units are committed" in render(found)
    flag.touch()
    project.execution |= {"unit_bytes": "64KiB", "batch_bytes": "2KiB"}
    resumed = project.run()
    assert project.fresh(0, before[0]) == []
    assert before[1].items() <= project.attempts(1).items()
    undisturbed = finished(
        config_of(
            project.folder / "p.yaml", f"{project.source}/", project.folder / "undisturbed", project.operators, execution=project.execution
        )
    )
    assert differences(files_of(resumed.root), files_of(undisturbed.root)) == []


def test_where_the_budget_stopped_a_run_a_larger_one_goes_on(project):
    """Units that were quarantined from are committed: raising the fraction does not read the input again."""
    write_jsonl(project.source / "f.jsonl", [*sayings("f", 3), b"broken"])
    project.execution |= {"max_quarantined_fraction": 0.0}
    with pytest.raises(BudgetExceeded):
        run(project.config)
    before = project.attempts(0)
    project.execution |= {"max_quarantined_fraction": 0.1}
    assert project.run().manifest["ledger"]["quarantined"] == {"invalid_json": 1}
    assert before
    assert before.items() <= project.attempts(0).items()


# --- a setting changed


def test_a_changed_threshold_runs_only_the_stages_after_it(project):
    """With the intermediate files kept, everything upstream is found: its records and parts are the very same."""
    project.run()
    before, parts = project.attempts(0), everything(project.root / "_shardmill" / "parts")
    project.operators[2]["where"] = "length(text) < 40"
    found = project.survey()
    assert [stage.committed for stage in found.stages] == [found.stages[0].units, 0]
    assert found.stages[0].exchange == found.stages[0].exchange_committed > 0
    assert found.stages[1].why == ["operators[filter_where].settings.where: length(text) < 50 → length(text) < 40"]
    assert "  runs because operators[filter_where].settings.where: length(text) < 50 → length(text) < 40" in render(found)
    result = project.run()
    assert result.manifest["version"] == "v2"
    assert max(map(len, result.texts())) < 40
    assert project.attempts(0) == before
    after = everything(project.root / "_shardmill" / "parts")
    stage = unsealed((project.root / PLAN).read_bytes())["stages"][0]["fingerprint"]
    upstream = {path: time for path, time in parts.items() if f"/{stage}.e" in path}
    assert upstream
    assert upstream.items() <= after.items()
    assert not [path for path in parts if path not in upstream and path in after]  # those of the stage that changed are gone


def test_a_changed_threshold_of_the_first_stage_runs_everything(project):
    """Everything is downstream of it, and the plan says which setting it was."""
    project.run()
    project.operators[0]["min_chars"] = 12
    found = project.survey()
    assert [stage.committed for stage in found.stages] == [0, 0]
    assert found.stages[0].why == ["operators[length_filter].settings.min_chars: 10 → 12"]
    assert found.stages[1].why == ["a stage before it changed"]
    assert project.run().manifest["version"] == "v2"


def test_without_intermediates_everything_runs_again(project):
    """Their parts were swept after the version was finished; the records that remain deceive nobody."""
    project.execution["keep_intermediates"] = "none"
    project.run()
    assert not list((project.root / "_shardmill" / "parts").rglob("*"))
    before = project.attempts(0)
    project.operators[2]["where"] = "length(text) < 40"
    found = project.survey()
    assert [stage.committed for stage in found.stages] == [0, 0]
    assert found.stages[0].why == ["nothing changed here; what is not committed yet, or was swept after the last version, runs"]
    project.run()
    assert len(project.fresh(0, before)) == found.stages[0].units


@pytest.mark.parametrize(
    "change",
    [
        {"output": {"target_shard_bytes": "1KiB"}},
        {"output": {"compression": "snappy"}},
    ],
    ids=str,
)
def test_another_form_of_the_shards_only_packs_again(project, change):
    """No unit runs again: the documents are packed from what is kept."""
    first = project.run()
    before = [project.attempts(0), project.attempts(1)]
    project.sections = change
    found = project.survey()
    assert not found.is_finished
    assert [stage.committed for stage in found.stages] == [stage.units for stage in found.stages]
    second = project.run()
    assert [project.attempts(0), project.attempts(1)] == before
    assert second.texts() == first.texts()
    assert second.shards() != first.shards()


@pytest.mark.parametrize("cluster", [{"type": "inline"}, {"type": "local", "num_cpus": 1}], ids=str)
def test_a_finished_output_starts_no_cluster(project, cluster):
    """Where it would run does not matter to a run that has nothing to do."""
    project.run()
    project.sections = {"cluster": cluster}
    assert run(project.config).was_finished


# --- a file changed


def change_nothing(_project: Project) -> None:
    """For the table below."""


def add(project: Project) -> None:
    save(project.source, "bb", sayings("bb"))


def touch_up(project: Project) -> None:
    save(project.source, "c", sayings("c", _7="another saying of c"))


def end_a_twin(project: Project) -> None:
    save(project.source, "b", sayings("b", _3="not a twin any more"))


def remove(project: Project) -> None:
    (project.source / "c.parquet").unlink()


@pytest.mark.parametrize(
    ("change", "kind", "name", "anew", "downstream"),
    [
        (add, "added", "bb", {"bb"}, {"bb"}),
        (touch_up, "changed", "c", {"c"}, {"c"}),
        (end_a_twin, "changed", "b", {"b"}, {"b", "d"}),
        (remove, "removed", "c", set(), set()),
    ],
    ids=["added", "changed", "changed-twin", "removed"],
)
def test_one_file_runs_only_its_units(project, change: Callable[[Project], None], kind, name, anew, downstream):
    """In the first stage the file's own units run; after it those and the ones whose verdicts changed; the rest is found by its content."""
    project.run()
    before = [project.attempts(0), project.attempts(1)]
    change(project)
    found = project.survey()
    uri = str(project.source / f"{name}.parquet")
    assert found.input_changes == {kind: [uri]}
    assert f"  {kind} since the latest plan: {uri}" in render(found)
    missing = found.stages[0].units - found.stages[0].committed
    result = project.run()
    assert result.manifest["version"] == "v2"
    assert set(project.fresh(0, before[0])) == anew
    assert len(project.fresh(0, before[0])) == missing
    assert set(project.fresh(1, before[1])) == downstream
    if "d" in downstream:
        assert project.fresh(1, before[1]).count("d") == 1  # the one unit that had the other twin
        assert "a twin of two files" in result.texts()
    fresh = finished(config_of(project.folder / "q.yaml", f"{project.source}/", project.folder / "fresh", project.operators))
    assert result.rows() == fresh.rows()
    assert result.table("dropped") == fresh.table("dropped")
    assert result.table("duplicates") == fresh.table("duplicates")


def test_a_file_that_comes_back_is_found_again(project):
    """Removed and restored within the kept work, its units need not run a third time: they are known by uri and etag."""
    project.run()
    path = project.source / "c.parquet"
    path.rename(project.folder / "c.parquet")
    project.run()
    (project.folder / "c.parquet").rename(path)
    before = project.attempts(0)
    assert project.run().manifest["version"] == "v3"
    assert project.fresh(0, before) == []


# --- an asset or the code changed


def tokenizer(path: Path, *words: str) -> Path:
    """A tokenizer that knows some words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(("[UNK]", *words))}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(path))
    return path


def test_a_tokenizer_that_changed_at_the_same_path_is_noticed(project):
    """Only the last stage runs again, with the new one; the plan names the asset."""
    path = tokenizer(project.folder / "tokenizer.json", "says", "word")
    project.operators.append({"type": "tokenize", "tokenizer": str(path)})
    first = project.run()
    assert first.rows("input_ids")[0] == {"input_ids": [0, 1, 0, 2]}
    before = project.attempts(0)
    tokenizer(path, "a", "says")
    [why] = project.survey().stages[1].why
    assert why.startswith(f"operators[tokenize].assets.{path}: ")
    second = project.run()
    assert second.rows("input_ids")[0] == {"input_ids": [1, 2, 0, 0]}
    assert project.attempts(0) == before
    assert second.manifest["fingerprints"]["inputs"] != first.manifest["fingerprints"]["inputs"]


def test_a_setting_that_changes_the_time_alone_runs_nothing(project):
    """Another size of the cache finds the output finished."""
    path = tokenizer(project.folder / "tokenizer.json", "says", "word")
    project.operators.append({"type": "tokenize", "tokenizer": str(path)})
    project.run()
    project.operators[-1]["cache_bytes"] = 1 << 20
    assert project.survey().is_finished


@pytest.mark.parametrize("neighbour", [False, True], ids=["module", "neighbour"])
def test_a_custom_operator_whose_source_changed_is_noticed(project, neighbour):
    """The module itself, or one beside it that it imports: the stages from it on run with the new code."""
    body = """
from rules import WORD
return Result(batch, pa.array([WORD if WORD in text else None for text in batch.column("text").to_pylist()], pa.string()))
"""
    (project.folder / "rules.py").write_text('WORD = "a twin"\n')
    project.operators.append(dict(custom(project.folder, body)))
    assert project.run().manifest["ledger"]["dropped"]["mine"] == {"a twin": 1}
    before = project.attempts(0)
    if neighbour:
        (project.folder / "rules.py").write_text('WORD = "says 7"\n')
    else:
        custom(project.folder, body.replace("from rules import WORD", 'WORD = "says 7"'))
    [why] = project.survey().stages[1].why
    assert why.startswith("operators[mine].code: ")
    assert project.run().manifest["ledger"]["dropped"]["mine"] == {"says 7": 5}
    assert project.attempts(0) == before


# --- an input that is overwritten in mid-run

OVERWRITES = """
import os, shutil
if "a0" in batch.column("id").to_pylist() and os.path.exists({new!r}):
    {action}
return Result(batch)
"""


@pytest.mark.parametrize("victim", ["a", "e"], ids=["the-file-being-read", "a-later-file"])
def test_a_local_input_overwritten_in_mid_run_is_an_error(project, victim):
    """The run ends, naming the file and what to do; the next one lists the input anew and finishes."""
    new, path = project.folder / "new.parquet", project.source / f"{victim}.parquet"
    save(project.folder, "new", sayings("new"))
    project.operators.insert(
        0, dict(custom(project.folder, OVERWRITES.format(new=str(new), action=f"shutil.move({str(new)!r}, {str(path)!r})")))
    )
    with pytest.raises(InputChanged) as caught:
        run(project.config)
    assert f"{path}: not the file that the inventory listed" in caught.value.message
    assert "run again" in caught.value.message
    assert not (project.root / "manifest.json").exists()
    assert "new1" in {row["id"] for row in project.run().rows("id")}


def test_an_s3_object_overwritten_in_mid_run_is_an_error(project, s3_server):
    """Each read says which version it wants: of an object that changed nothing is used."""
    bucket = s3_server.make_bucket()
    for path in sorted(project.source.iterdir()):
        s3_server.client().put_object(Bucket=bucket, Key=f"in/{path.name}", Body=path.read_bytes())
    new = save(project.folder, "new", sayings("new"))
    action = (
        f"import botocore.session, pathlib; data = pathlib.Path({str(new)!r}).read_bytes(); os.remove({str(new)!r}); "
        f"botocore.session.Session().create_client('s3', endpoint_url={s3_server.endpoint!r}, region_name='us-east-1')"
        f".put_object(Bucket={bucket!r}, Key='in/e.parquet', Body=data)"
    )
    operators = [custom(project.folder, OVERWRITES.format(new=str(new), action=action)), *project.operators]
    sections = {"input": {"storage_options": s3_server.options}, "execution": project.execution}
    config = config_of(project.folder / "p.yaml", f"s3://{bucket}/in/", project.root, operators, **sections)
    with pytest.raises(InputChanged, match=f"s3://{bucket}/in/e.parquet"):
        run(config)
    found = finished(config)
    assert "new1" in {row["id"] for row in found.rows("id")}
    assert "e1" not in {row["id"] for row in found.rows("id")}
