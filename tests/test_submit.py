"""`submit`, `logs`, `wait` and `stop` as a user meets them, with a cluster that is a dictionary: identity, files, exit statuses."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import yaml
from corpora import documents, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.shippable import HERE, files_below
from cluster.staging import staged
from cluster.target import Job, JobState, JobStatus, Target, TargetError
from pipelines import cli_submit, submission, submission_files
from pipelines.cli import main
from pipelines.config import load
from pipelines.errors import ConfigError
from pipelines.runbook import pointer
from pipelines.settings_cluster import RayCluster
from pipelines.storage import open_store
from pipelines.submission import ID, job_id, prepare_job
from pipelines.submission_records import keep, latest

SECRET = "planted+secret/0123456789"
CUSTOM = """
from operators.length import LengthFilter
import words

class Mine(LengthFilter):
    type: str = "mine"
"""


@dataclass
class Cluster(Target):
    """Jobs by id; whatever is submitted stays pending until a test says otherwise."""

    name: ClassVar[str] = "ray"
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    submitted: list[Job] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    on_line: object = None
    asked: int = 0

    @property
    def place(self) -> str:
        return "http://cluster:8265"

    def describe(self, job: Job) -> str:
        return json.dumps({"id": job.id, "arguments": job.arguments, "environment": dict(job.environment), "files": job.files})

    def submit(self, job: Job) -> bool:
        self.asked += 1
        if job.id in self.jobs:
            return False
        self.submitted.append(job)
        self.jobs[job.id] = JobStatus(JobState.PENDING)
        return True

    def status(self, job_id: str) -> JobStatus:
        self.asked += 1
        return self.jobs.get(job_id, JobStatus(JobState.UNKNOWN))

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        for line in self.written:
            yield line
            if self.on_line is not None:
                raise self.on_line

    def stop(self, job_id: str) -> bool:
        was = self.jobs[job_id].state in (JobState.PENDING, JobState.RUNNING)
        if was:
            self.jobs[job_id] = JobStatus(JobState.STOPPED)
        return was

    def end(self, state: JobState, code: int | None = None) -> None:
        """Every job that has not ended ends like this."""
        self.jobs |= {name: JobStatus(state, code, "why") for name, found in self.jobs.items() if not found.state.is_final}


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    made.places = []

    def target_of(name, config, place=""):
        made.places.append((name, place))
        return made

    monkeypatch.setattr(cli_submit, "target_of", target_of)
    monkeypatch.setattr(cli_submit, "POLL_SECONDS", 0.0)
    return made


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A pipeline in a folder of its own, which is the working folder."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    write_parquet(tmp_path / "in" / "a.parquet", documents(5, seed=1))
    folder = tmp_path / "pipeline"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return write(folder / "mine.yaml", tmp_path)


def write(path, root, **changes):
    made = {
        "name": "My Pipeline!".replace(" ", "-").replace("!", ""),
        "input": {"uri": f"{root}/in/*.parquet"},
        "operators": [{"type": "length_filter", "min_chars": 3}],
        "output": {"uri": f"{root}/out"},
        "cluster": {"type": "local", "num_cpus": 2},
        **changes,
    }
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


@pytest.fixture
def shell(capsys):
    def run(*words, status=0):
        found = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert found == status, (found, out, err)
        assert "Traceback" not in out + err
        return SimpleNamespace(out=out, err=err)

    return run


def the_id(path, *overrides):
    return job_id(load(path, overrides), "run")


# --- submitting twice is once


def test_submitting_twice_is_once(cluster, file, shell):
    """The second one says that the job is there, in which state, and sends nothing; both end with 0."""
    prepared = []
    cluster.prepare = prepared.append
    first = shell("submit", file.name, "--to", "ray")
    assert prepared == cluster.submitted
    again = shell("submit", file.name, "--to", "ray")
    (job,) = cluster.submitted
    assert prepared == [job, job], "what belongs to the pipeline is brought up to date all the same"
    assert job.id in first.out
    assert "already there: it is pending" in again.out
    cluster.end(JobState.SUCCEEDED, 0)
    assert "already there: it is succeeded" in shell("submit", file.name, "--to", "ray").out
    assert len(cluster.submitted) == 1


def test_one_that_failed_or_was_stopped_is_submitted_again_under_the_next_number(cluster, file, shell):
    """`<id>`, `<id>-2`, `<id>-3`; while one of them runs there is no other."""
    for number, ending in ((1, JobState.FAILED), (2, JobState.STOPPED), (3, None)):
        shell("submit", file, "--to", "ray")
        assert len(cluster.submitted) == number
        if ending is not None:
            cluster.end(ending)
    assert "already there" in shell("submit", file, "--to", "ray").out
    first, *later = [job.id for job in cluster.submitted]
    assert later == [f"{first}-2", f"{first}-3"]


def test_somebody_else_was_quicker(cluster, file, shell, monkeypatch):
    """A job that appears between the question and the submission is not run a second time; what is said of it is of after that."""

    def late(job):
        cluster.jobs[job.id] = JobStatus(JobState.RUNNING)
        return False

    monkeypatch.setattr(cluster, "submit", late)
    assert "already there: it is running" in shell("submit", file, "--to", "ray").out


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"operators": [{"type": "length_filter", "min_chars": 4}]}, False),
        ({"output": {"uri": "/elsewhere"}}, False),
        ({"name": "another"}, False),
        ({"cluster": {"type": "inline"}}, True),
        ({"submit": {"ray": {"address": "http://other:8265"}}}, True),
        ({"schedule": {"cron": "0 3 * * *"}}, True),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_id_is_made_of_what_is_done(change, same, file, tmp_path):
    """Operators, output and name count; where and when it runs does not."""
    before = the_id(file)
    assert (the_id(write(file, tmp_path, **change)) == before) is same


def test_new_input_is_another_job(file, tmp_path):
    """A file that comes, changes or goes makes another id; the same listing makes the same one, wherever it is asked from."""
    first = the_id(file)
    assert the_id(file) == first
    write_parquet(tmp_path / "in" / "b.parquet", documents(5, seed=2))
    second = the_id(file)
    write_parquet(tmp_path / "in" / "b.parquet", documents(6, seed=2))
    third = the_id(file)
    (tmp_path / "in" / "b.parquet").unlink()
    assert len({first, second, third}) == 3
    assert the_id(file) == first


def test_the_kind_and_the_own_code_count(file, tmp_path):
    """An ingestion is another job than a run; so is a run after an edit of the pipeline's own operator."""
    (file.parent / "words.py").write_text("WORDS = 1\n")
    (file.parent / "own.py").write_text(CUSTOM)
    write(file, tmp_path, operators=[{"type": "own:Mine"}])
    found = {job_id(load(file), "run"), job_id(load(file), "ingest")}
    (file.parent / "words.py").write_text("WORDS = 2\n")
    assert len(found | {the_id(file)}) == 3


@given(name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", fullmatch=True))
@settings(max_examples=200)
def test_every_name_makes_an_id_that_clusters_take(name):
    """The readable part is lower case, begins with a letter and leaves room for the number of a later try."""
    from pipelines.submission import _readable

    assert ID.fullmatch(f"{_readable(name)}-0123456789ab")


@pytest.mark.parametrize("given_id", ["", "Upper", "a_b", "-a", "a-", "1a", "a" * 48, "a\nb"])
def test_an_id_that_no_cluster_takes_is_refused(given_id, cluster, file, shell):
    assert "--id" in shell("submit", file, "--to", "ray", "--id", given_id, status=2).err


def test_input_that_cannot_be_listed_from_here(cluster, file, tmp_path, shell):
    """It is said, with the way out; with an id of one's own, and for `--dry`, the listing is not needed."""
    write(file, tmp_path, input={"uri": f"{tmp_path}/nowhere/*.parquet"})
    said = shell("submit", file, "--to", "ray", status=1).err
    assert "cannot be listed from this machine" in said
    assert "--id" in said
    assert cluster.asked == 0
    assert shell("submit", file, "--to", "ray", "--dry").out
    shell("submit", file, "--to", "ray", "--id", "by-hand")
    assert [job.id for job in cluster.submitted] == ["by-hand"]


# --- what is sent


def test_dry_contacts_no_cluster(cluster, file, shell, tmp_path):
    """It prints what the target describes, asks it nothing and writes nothing."""
    found = json.loads(shell("submit", file, "--to", "ray", "--dry", "--set", "operators.length_filter.min_chars=4").out)
    assert found["id"] == the_id(file, "operators.length_filter.min_chars=4")
    assert found["arguments"][:4] == ["run", "mine.yaml", "--set", "operators.length_filter.min_chars=4"]
    assert cluster.asked == 0
    assert not (tmp_path / "out").exists()


def test_the_command_works_where_the_folder_was_copied_to(file, tmp_path, monkeypatch):
    """From any working folder: in a copy of what is sent, the arguments give the same pipeline, on the cluster's Ray."""
    folder = file.parent
    (folder / "lists").mkdir()
    (folder / "lists" / "bad.txt").write_text("example.org\n")
    (folder / "words.py").write_text("WORDS = 1\n")
    (folder / "own.py").write_text(CUSTOM)
    other = tmp_path / "beside.txt"
    other.write_text("example.com\n")
    operators = [{"type": "url_filter", "domain_lists": ["pipeline/lists/bad.txt", "beside.txt"]}, {"type": "own:Mine"}]
    write(file, tmp_path, operators=operators, input={"uri": ["in/*.parquet", f"{tmp_path}/in/"]}, output={"uri": "out"}, history="kept")
    monkeypatch.chdir(tmp_path)
    config = load(Path("pipeline/mine.yaml"))
    job = prepare_job(config, Path("pipeline/mine.yaml"), ()).job
    assert job.files == ("lists/bad.txt", "mine.yaml", "own.py", "words.py")
    with staged(job.folder, job.files) as there:
        monkeypatch.chdir(there)
        overrides = [word for flag, word in zip(job.arguments[2::2], job.arguments[3::2], strict=True) if flag == "--set"]
        found = load(Path(job.arguments[1]), overrides)
        assert found.input.uri == (f"{tmp_path}/in/*.parquet", f"{tmp_path}/in/")
        assert (found.output.uri, found.history) == (f"{tmp_path}/out", f"{tmp_path}/kept")
        assert (found.cluster.type, found.cluster.address) == ("ray", "auto")
        assert found.operators[0].domain_lists == ["lists/bad.txt", str(other)]
        assert Path("lists/bad.txt").read_text() == "example.org\n"
        for name in ("operators", "cluster", "pipelines"):
            assert (there / name / "__init__.py").read_bytes() == (
                Path(submission_files.__file__).parents[1] / name / "__init__.py"
            ).read_bytes()


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_any_path_comes_through_an_override(text):
    """Whatever a path holds, quotes, `${…}` or newlines: the override says exactly that."""
    from pipelines.config_overrides import apply_override
    from pipelines.config_validate import Problems
    from pipelines.config_yaml import Place, Table

    root, problems = Table(Place("file", 1)), Problems()
    apply_override(root, f"output={submission_files._yaml(text)}", {}, problems)
    problems.raise_if_any()
    assert root.entries["output"].text == text


def test_what_is_not_sent(file, tmp_path, monkeypatch):
    """Without own operators only the pipeline's file goes; with them modules, but no environment, cache, hidden folder or output."""
    folder = file.parent
    assert prepare_job(load(file), file, ()).job.files == ("mine.yaml",)
    for name in ("own.py", "words.py", "deep/er.py", ".git/hook.py", "__pycache__/own.py", "venv/lib/x.py", "out/left.py", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("X = 1\n")
    (folder / "venv" / "pyvenv.cfg").touch()
    (folder / "own.py").write_text(CUSTOM)
    write(file, tmp_path, operators=[{"type": "own:Mine"}], output={"uri": "out"})
    assert prepare_job(load(file), file, ()).job.files == ("deep/er.py", "mine.yaml", "own.py", "words.py")
    monkeypatch.setattr(submission_files, "MAX_FILES", 3)
    with pytest.raises(ConfigError, match="4 files would go to the cluster, expected 3"):
        prepare_job(load(file), file, ())
    monkeypatch.setattr(submission_files, "MAX_FILES", 4)
    monkeypatch.setattr(submission_files, "MAX_BYTES", 10)
    with pytest.raises(ConfigError, match=r"the largest: .*; put large files on the object store"):
        prepare_job(load(file), file, ())


def test_a_file_that_would_replace_one_of_ours_is_refused(tmp_path):
    """A folder of the pipeline's may have the name of a package, but no file may stand in the place of another one."""
    (tmp_path / "operators").mkdir()
    (tmp_path / "operators" / "mine.py").write_text("X = 1\n")
    with staged(tmp_path, ("operators/mine.py",)) as there:
        assert (there / "operators" / "mine.py").exists()
        assert (there / "operators" / "base.py").exists()
    (tmp_path / "operators" / "base.py").write_text("X = 1\n")
    with pytest.raises(TargetError, match="which this one would replace"), staged(tmp_path, ("operators/base.py",)):
        pass
    assert not [path for path in files_below(HERE / "operators") if "__pycache__" in path.parts]


def test_no_secret_is_sent(cluster, file, shell, tmp_path, monkeypatch):
    """Neither of the environment nor of the words; which variables the job needs is said by name."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("MY_PLACE", f"https://user:{SECRET}@host/in.parquet")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://user:{SECRET}@host")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    write(file, tmp_path, input={"uri": ["s3://bucket/in/*.parquet", "${MY_PLACE}"]})
    file.write_text("# a comment may name ${NOT_ME}\n" + file.read_text())
    monkeypatch.setenv("NOT_ME", "x")
    said = shell("submit", file, "--to", "ray", "--id", "mine")
    (job,) = cluster.submitted
    assert job.secrets == ("AWS_SECRET_ACCESS_KEY", "MY_PLACE")
    assert {name for name in job.environment if name.startswith("AWS_")} == {"AWS_REGION"}
    assert "AWS_SECRET_ACCESS_KEY, MY_PLACE: not sent" in said.err
    records = [path.read_text() for path in (tmp_path / "out").rglob("*.json")]
    for text in (repr(job), cluster.describe(job), said.out, said.err, *records):
        assert SECRET not in text
    refused = shell("submit", file, "--to", "ray", "--set", f"input.uri=https://u:{SECRET}@host/x.parquet", status=2)
    assert SECRET not in refused.err
    assert "holds a secret" in refused.err


def test_a_password_in_the_file_is_not_sent(cluster, file, shell, tmp_path, monkeypatch):
    """The file goes along as it is: a URI with a password is refused, one that refers to a variable is not."""
    write(file, tmp_path, input={"uri": "https://user:planted@127.0.0.1:9/a.jsonl"})
    refused = shell("submit", file, "--to", "ray", "--dry", status=2)
    assert "https://[redacted]@127.0.0.1:9/a.jsonl holds a secret" in refused.err
    assert "planted" not in refused.out + refused.err
    monkeypatch.setenv("LOGIN", "user:planted")
    monkeypatch.setattr(submission, "LIST_SECONDS", 0.1)
    write(file, tmp_path, input={"uri": "https://${LOGIN}@127.0.0.1:9/a.jsonl"})
    shown = shell("submit", file, "--to", "ray", "--dry")
    assert "planted" not in shown.out + shown.err


def test_a_file_whose_name_looks_like_an_option(cluster, file, shell):
    """It is named so that the command on the cluster takes it for a file."""
    odd = file.rename(file.with_name("-x.yaml"))
    shell("submit", "--to", "ray", "--", odd.name)
    assert cluster.submitted[0].arguments[1] == "./-x.yaml"
    assert cluster.submitted[0].files == ("-x.yaml",)


def test_an_ingestion_is_submitted(cluster, file, shell):
    """`--ingest` hands over `shardmill ingest`, under an id of its own."""
    shell("submit", file, "--to", "ray")
    shell("submit", file, "--to", "ray", "--ingest")
    assert [job.arguments[0] for job in cluster.submitted] == ["run", "ingest"]


def test_asking_beforehand(cluster, file, shell):
    """`--test-only` asks a target that can be asked, and is refused by one that cannot."""
    assert "cannot be asked" in shell("submit", file, "--to", "ray", "--test-only", status=2).err
    cluster.check = lambda job: f"{job.name} would start at once"
    assert "would start at once" in shell("submit", file, "--to", "ray", "--test-only").out
    assert not cluster.submitted


# --- following it


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        (JobState.SUCCEEDED, 0, 0),
        (JobState.SUCCEEDED, 3, 3),
        (JobState.SUCCEEDED, None, 0),
        (JobState.FAILED, 1, 1),
        (JobState.FAILED, 2, 2),
        (JobState.FAILED, 4, 4),
        (JobState.FAILED, 137, 137),
        (JobState.FAILED, None, 1),
        (JobState.STOPPED, None, 130),
    ],
)
def test_the_exit_status_is_the_jobs_own(state, code, expected, cluster, file, shell):
    """Of `wait` and of `submit --follow`."""
    shell("submit", file, "--to", "ray")
    cluster.end(state, code)
    found = json.loads(shell("wait", file, "--json", status=expected).out)
    assert (found["state"], found["exit_code"]) == (state.value, expected)
    cluster.jobs = {}
    cluster.written = ["a line"]
    cluster.logs = lambda job_id, follow: cluster.end(state, code) or iter(["a line"])
    assert shell("submit", file, "--to", "ray", "--follow", status=expected).out.endswith("a line\n")


def test_a_cluster_that_is_away_for_a_moment_is_waited_for(cluster, file, shell, monkeypatch):
    """`wait` ends when the job does, not when a connection does; one that never answers, or not any more, is an error."""
    shell("submit", file, "--to", "ray")
    answers = iter([JobStatus(JobState.RUNNING), None, None, JobStatus(JobState.SUCCEEDED, 0), None, JobStatus(JobState.RUNNING), None])

    def status(job_id):
        if (found := next(answers)) is None:
            raise TargetError("http://cluster:8265: it does not answer")
        return found

    monkeypatch.setattr(cluster, "status", status)
    assert "exit status 0" in shell("wait", file).out
    assert "does not answer" in shell("wait", file, status=1).err
    monkeypatch.setattr(cli_submit, "PATIENCE_SECONDS", -1.0)
    assert "does not answer" in shell("wait", file, status=1).err


def test_ctrl_c_ends_the_looking_on_and_not_the_job(cluster, file, shell):
    """Exit status 130, the job goes on, and how to end it is said."""
    cluster.written, cluster.on_line = ["one", "two"], KeyboardInterrupt()
    said = shell("submit", file, "--to", "ray", "--follow", status=130)
    assert "goes on without you; to end it: shardmill stop" in said.err
    assert said.out.splitlines()[-1] == "one"
    assert "goes on without you" in shell("logs", file, "--follow", status=130).err
    assert [found.state for found in cluster.jobs.values()] == [JobState.PENDING]


def test_stop_says_what_stays(cluster, file, shell):
    """It waits for the end and tells how to go on; stopping again is no error."""
    shell("submit", file, "--to", "ray")
    said = shell("stop", file).out
    assert "is stopped. What it has committed stays in" in said
    assert "to go on: shardmill submit" in said
    assert "was not running: it is stopped" in shell("stop", file).out
    assert json.loads(shell("stop", file, "--json").out)["stopped"] is False


def test_where_the_job_went_is_found_in_the_output(cluster, file, shell, tmp_path):
    """The last submission is meant, at the place that it went to; `--id` and `--to` say otherwise."""
    assert "nothing was submitted" in shell("logs", file, status=1).err
    shell("submit", file, "--to", "ray")
    cluster.end(JobState.FAILED, 1)
    shell("submit", file, "--to", "ray")
    first, second = (job.id for job in cluster.submitted)
    assert json.loads(shell("stop", file, "--json").out)["id"] == second
    assert cluster.places[-1] == ("ray", "http://cluster:8265")
    assert json.loads(shell("wait", file, "--id", first, "--json", status=1).out)["id"] == first
    assert "nothing was submitted to slurm" in shell("logs", file, "--to", "slurm", status=1).err
    assert "nobody was not submitted" in shell("logs", file, "--id", "nobody", status=1).err
    cluster.jobs["by-hand"] = JobStatus(JobState.SUCCEEDED, 0)
    assert shell("wait", file, "--to", "kuberay", "--id", "by-hand").out
    assert cluster.places[-1] == ("kuberay", "")


def test_the_last_submission_is_the_one_that_was_made_last(tmp_path, monkeypatch):
    """By the store's clock; of two at the same moment, the higher number. What is there for the same place is not written again."""
    store = open_store(str(tmp_path))
    clock = iter([10.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(type(store), "now", lambda self: next(clock))
    keep(store, "b", "slurm", "")
    for name in ("a-9", "a-10", "a-2"):
        keep(store, name, "ray", "http://user:word@host:8265")
    found = latest(store)
    assert (found.id, found.place) == ("a-10", "http://[redacted]@host:8265")
    assert latest(store, "slurm").id == "b"
    assert keep(store, "b", "slurm", "").when == 10.0


def test_a_job_that_the_cluster_has_forgotten(cluster, file, shell):
    """`wait` ends with an error that tells where to look."""
    shell("submit", file, "--to", "ray")
    cluster.jobs = {}
    said = shell("wait", file, status=1).err
    assert "does not know this job" in said
    assert "shardmill status" in said


def test_an_output_that_cannot_be_written_from_here(cluster, file, shell, monkeypatch):
    """The job is handed over all the same; how to name it later is said."""
    from pipelines import submission_records
    from pipelines.errors import AccessDenied

    def refuse(*_):
        raise AccessDenied("no")

    monkeypatch.setattr(submission_records, "keep", refuse)
    said = shell("submit", file, "--to", "ray")
    assert len(cluster.submitted) == 1
    assert f"--to ray --id {cluster.submitted[0].id}" in said.err


def test_a_cluster_that_refuses_is_one_message(cluster, file, shell, monkeypatch):
    """What a target cannot do is an error of ours with exit status 1."""

    def refuse(job_id):
        raise TargetError("http://cluster:8265: nothing answers there; start it")

    monkeypatch.setattr(cluster, "status", refuse)
    said = shell("submit", file, "--to", "ray", status=1).err.splitlines()[-1]
    assert said == f"shardmill: http://cluster:8265: nothing answers there; start it; {pointer('a-cluster-cannot-be-reached')}"


def test_json_is_one_object(cluster, file, shell):
    """Of `submit`, both times, and of what would be sent or is said; with `--follow` there is no room for it."""
    cluster.check = lambda job: "it would start at once"
    assert json.loads(shell("submit", file, "--to", "ray", "--test-only", "--json").out)["said"] == "it would start at once"
    assert "run" in json.loads(json.loads(shell("submit", file, "--to", "ray", "--dry", "--json").out)["sent"])["arguments"]
    first = json.loads(shell("submit", file, "--to", "ray", "--json").out)
    again = json.loads(shell("submit", file, "--to", "ray", "--json").out)
    assert (first["submitted"], again["submitted"]) == (True, False)
    assert first | {"submitted": None} == again | {"submitted": None}
    assert re.fullmatch(r"my-pipeline-[0-9a-f]{12}", first["id"])
    assert "give one of them" in shell("submit", file, "--to", "ray", "--json", "--follow", status=2).err


def test_paths_of_this_machine_are_told(cluster, file, shell):
    """Local input and output work only where every node sees them; that is said once, when the job is handed over."""
    assert "note: output.uri is" in shell("submit", file, "--to", "ray").err
    assert "note:" not in shell("submit", file, "--to", "ray").err


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"address": "10.0.0.1:6379"}, "expected http://HEAD:8265"),
        ({"address": "http://u:word@head:8265"}, "RAY_AUTH_TOKEN"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, "is a secret"),
        ({"environment": {"PLACE": "https://u:word@host"}}, "is a secret"),
        ({"python": "python\nrm"}, "expected a command"),
        ({"restart": 3}, "restarts"),
    ],
    ids=str,
)
def test_wrong_settings_name_their_line(section, message, file, tmp_path):
    write(file, tmp_path, submit={"ray": section})
    with pytest.raises(ConfigError, match=rf"mine.yaml:\d+: submit\.ray.*{re.escape(message)}"):
        load(file)


def test_the_working_folder_is_left_as_it_was(cluster, file, shell, tmp_path):
    """Nothing of a submission stays behind on this machine but the record in the output."""
    before = sorted(file.parent.iterdir())
    job = prepare_job(load(file), file, ()).job
    with staged(job.folder, job.files):
        pass
    shell("submit", file, "--to", "ray")
    assert sorted(file.parent.iterdir()) == before
    assert [path.name for path in (tmp_path / "out").rglob("*.json")] == [f"{cluster.submitted[0].id}.json"]


def test_files_that_ship_names_go_along(file, tmp_path):
    """As they do to the workers of a run that is not submitted; a pattern that matches nothing is an error there, too."""
    (file.parent / "words").mkdir()
    (file.parent / "words" / "a.txt").write_text("a\n")
    write(file, tmp_path, cluster={"type": "ray", "ship": ["words/*.txt"]})
    assert prepare_job(load(file), file, ()).job.files == ("mine.yaml", "words/a.txt")
    write(file, tmp_path, cluster={"type": "ray", "ship": ["word/*.txt"]})
    with pytest.raises(ConfigError, match=r"cluster\.ship: 'word/\*\.txt' matches no file"):
        prepare_job(load(file), file, ())


@pytest.mark.parametrize(
    ("cluster", "kept"),
    [
        ({"type": "local", "num_cpus": 4}, {}),
        ({"type": "inline"}, {}),
        ({"type": "ray", "address": "ray://h:1", "max_wait_minutes": 3}, {"max_wait_minutes": 3.0}),
    ],
)
def test_the_work_runs_where_the_driver_does(cluster, kept, file, tmp_path):
    """Whatever the file says of other places; what holds on any Ray is kept. Slurm's script says the address behind it."""
    write(file, tmp_path, cluster=cluster)
    words = prepare_job(load(file), file, ()).job.arguments[3::2]
    for more, address in (((), "auto"), (("cluster.type=ray", "cluster.address=10.0.0.1:6379"), "10.0.0.1:6379")):
        found = load(file, (*words, *more)).cluster.model_dump()
        assert found == RayCluster(address=address, **kept).model_dump()
