"""On a real Slurm of two nodes: a submitted run ends like one without Slurm, whatever happens to the job, and nothing stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipelines_made import ROOT, Runs, contents, internals, orphans, same, write_input, write_pipeline
from slurm_server import SlurmServer, waited_for

from cluster.slurm import Slurm
from cluster.target import Job, JobState, TargetError
from pipelines import demo
from pipelines.cli import main
from pipelines.settings_submit_slurm import SlurmSubmit

HOLD = "commit.before-record@2=wait:"
"""Every worker stops before its second commit, until a file is there."""
pytestmark = pytest.mark.timeout(900)


@dataclass
class Lab:
    """Submits jobs from a folder of the test's own, and looks at what they leave."""

    server: SlurmServer
    folder: Path

    def target(self, **settings: object) -> Slurm:
        values = {"folder": str(self.folder / "jobs"), "cpus_per_task": 1, "python": sys.executable}
        return Slurm.of(SlurmSubmit.model_validate({**values, **settings}).model_dump())

    def number(self, job_id: str) -> str:
        return (self.folder / "jobs" / job_id / "number").read_text().strip()

    def log(self, job_id: str) -> str:
        path = self.folder / "jobs" / job_id / "output.log"
        return path.read_text() if path.exists() else "there is no log"

    def ended(self, target: Slurm, job_id: str) -> tuple[JobState, int | None]:
        """How a job ended, once it has and its nodes are free of it."""
        waited_for(lambda: target.status(job_id).state.is_final, f"{job_id} has not ended:\n{self.log(job_id)}", 240)
        number = self.number(job_id)
        waited_for(lambda: number not in self.server.ask("squeue", "--noheader", "--format=%A").split(), f"{job_id} is still in the queue")
        status = target.status(job_id)
        return status.state, status.exit_code

    def left(self, *job_ids: str) -> list[str]:
        """Processes, temporary folders and tokens of jobs that have ended."""
        numbers = [self.number(job_id) for job_id in job_ids]
        found = [str(path) for number in numbers for path in Path("/tmp").glob(f"sm-{number}-*")]
        found += [str(path) for path in (self.folder / "jobs").rglob("token-*")]
        return found + [program for number in numbers for program in processes(f"SLURM_JOB_ID={number}".encode())]


def processes(variable: bytes) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable in path.read_bytes().split(b"\0") and b"SLURM_CONF=" + os.environb[b"SLURM_CONF"] in path.read_bytes().split(b"\0"):
                found.append(path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone meanwhile, or not ours to read
            continue
    return found


@pytest.fixture
def lab(slurm_server, tmp_path, monkeypatch):
    """The commands of this checkout, on the session's Slurm."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    yield Lab(slurm_server, tmp_path)
    slurm_server.cancel_all()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """The files of a run without Slurm and without Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(write_pipeline(folder, source, str(folder / "out")), folder / "runs")
    assert runs.start(limits=None).wait() == 0
    return contents(runs.store())


@pytest.fixture
def held(lab, monkeypatch):
    """Runs stop in mid-run until this file is there; what a test does then happens while work is under way."""
    wake = lab.folder / "wake"
    monkeypatch.setenv("SHARDMILL_FAULT", f"{HOLD}{wake}")
    return wake


def pipeline(lab, source, job_id, output="out"):
    """A pipeline of the folder `job_id`, and the job that runs it."""
    path = write_pipeline(lab.folder / f"{output}-pipeline", source, str(lab.folder / output))
    return Job(job_id, "small", ("run", path.name), path.parent), Runs(path, lab.folder / f"{output}-runs")


def in_mid_run(lab, target, job_id, runs):
    """Return when work is committed and more is under way."""

    def is_at_work():
        assert not target.status(job_id).state.is_final, lab.log(job_id)
        return any("/records/" in path for path in internals(runs.store()))

    waited_for(is_at_work, f"{job_id} has not begun:\n{lab.log(job_id)}", 200)


def assert_as_undisturbed(runs, undisturbed):
    assert not same(contents(runs.store()), undisturbed)
    assert not orphans(runs.store())


@pytest.mark.chaos
def test_the_quickstart_runs_to_its_end(lab):
    """The sbatch script runs the quickstart over its own Ray: once however often it is submitted, with a result that `verify` passes."""
    demo.build(lab.folder / "demo", max_bytes=200_000, names={"click", "werkzeug"})
    target = lab.target(folder=str(lab.folder / "jobs of 100% #1 ü"))
    places = ("--set", f"input.uri={lab.folder}/demo/input/**", "--set", f"output.uri={lab.folder}/demo/output")
    job = Job("quickstart-1", "quickstart", ("run", "quickstart.yaml", *places), ROOT / "configs")
    assert target.check(job).startswith("Job ")
    assert target.status(job.id).state is JobState.UNKNOWN
    assert [target.submit(job), target.submit(job)] == [True, False]
    log = list(target.logs(job.id, follow=True))
    assert (target.status(job.id).state, target.status(job.id).exit_code) == (JobState.SUCCEEDED, 0), "\n".join(log)
    assert any(line.startswith(f"v1 is in {lab.folder}/demo/output") for line in log)
    assert list(target.logs(job.id, follow=False)) == log
    assert not target.submit(job)
    assert not target.stop(job.id)
    verify = [sys.executable, "-m", "pipelines.cli", "verify", f"{lab.folder}/demo/output"]
    assert subprocess.run(verify, capture_output=True, env=os.environ | {"PYTHONSAFEPATH": "1"}).returncode == 0
    (jobs,) = (lab.folder / "jobs of 100% #1 ü").iterdir()
    assert {path.name for path in jobs.iterdir()} == {"exit", "lock", "number", "output.log", "script.sh"}
    number = (jobs / "number").read_text().strip()
    waited_for(lambda: not processes(f"SLURM_JOB_ID={number}".encode()), "processes of the job are still there", 10)
    assert not list(Path("/tmp").glob(f"sm-{number}-*"))


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"setup": ["true", "export A=1 && false"]}, 2, "submit.slurm.setup: line 2 ended with status 1"),
        ({"setup": ["if ("]}, 2, "submit.slurm.setup: line 1 ended with status"),
        ({"python": "/usr/bin/python3", "setup": ["unset PYTHONPATH"]}, 2, "has no shardmill on n"),
        ({}, 2, "the folder of the pipeline is not on n"),
        ({"temp_folder": "/proc"}, 1, "Ray did not start on n"),
    ],
    ids=["setup", "setup that bash cannot read", "python", "pipeline's folder", "temporary folder"],
)
def test_a_job_that_cannot_begin_says_why(settings, code, message, lab):
    """What is wrong on the node is in the log and in the status, with the exit status of the contract."""
    target = lab.target(**settings)
    name = f"wrong-{lab.folder.name[-1]}"  # Slurm remembers the others
    job = Job(name, "small", ("run", "small.yaml"), lab.folder if settings else Path("/nowhere"))
    assert target.submit(job)
    state, found = lab.ended(target, job.id)
    assert (state, found) == (JobState.FAILED, code), lab.log(job.id)
    assert message in target.status(job.id).message
    assert message in lab.log(job.id)
    assert not lab.left(job.id)


def test_a_job_that_waits_is_taken_out_of_the_queue(lab):
    """Stopped before it has begun, a job is stopped for good, also when Slurm has forgotten it."""
    target = lab.target(sbatch_options=["--begin=now+1hour"])
    job = Job("waiting", "small", ("run", "small.yaml"), lab.folder)
    assert target.submit(job)
    assert target.status(job.id).state is JobState.PENDING
    assert target.stop(job.id)
    assert lab.ended(target, job.id) == (JobState.STOPPED, 130)
    assert not target.stop(job.id)
    assert not target.submit(job)


def test_what_slurm_refuses_is_said_before_anything_is_handed_over(lab):
    """`check` and `submit` hand on Slurm's words; a refused job is not there, and may be submitted when it is mended."""
    job = Job("refused", "small", ("run", "small.yaml"), lab.folder)
    wrong = lab.target(partition="nothere")
    with pytest.raises(TargetError, match=r"sbatch: .*invalid partition"):
        wrong.check(job)
    with pytest.raises(TargetError, match=r"sbatch: .*invalid partition"):
        wrong.submit(job)
    assert wrong.status(job.id).state is JobState.UNKNOWN
    with pytest.raises(TargetError, match="Slurm knows no job refused"):
        list(wrong.logs(job.id, follow=False))
    right = lab.target(sbatch_options=["--begin=now+1hour"])
    assert right.submit(job)


@pytest.mark.chaos
def test_a_stopped_run_goes_on_when_it_is_submitted_again(lab, source, undisturbed, held, monkeypatch):
    """A job that is stopped in mid-run ends as stopped and gives its lease back; the next one makes what an undisturbed run makes."""
    target = lab.target()
    job, runs = pipeline(lab, source, "small-1")
    assert target.submit(job)
    in_mid_run(lab, target, job.id, runs)
    assert target.stop(job.id)
    assert lab.ended(target, job.id) == (JobState.STOPPED, 130), lab.log(job.id)
    assert not lab.left(job.id)
    assert b'"released":true' in (lab.folder / "out/_shardmill/lease.json").read_bytes()
    monkeypatch.delenv("SHARDMILL_FAULT")
    again = Job("small-1-2", job.name, job.arguments, job.folder)
    assert target.submit(again)
    assert lab.ended(target, again.id) == (JobState.SUCCEEDED, 0), lab.log(again.id)
    assert not lab.left(again.id)
    assert_as_undisturbed(runs, undisturbed)


@pytest.mark.chaos
def test_a_job_that_is_cancelled_as_a_whole_ends_in_good_order(lab, source, held):
    """`scancel` without options signals everything at once: the run is stopped, gives its lease back and leaves nothing."""
    target = lab.target(nodes=2)
    job, runs = pipeline(lab, source, "small-c")
    assert target.submit(job)
    in_mid_run(lab, target, job.id, runs)
    lab.server.ask("scancel", lab.number(job.id))
    assert lab.ended(target, job.id) == (JobState.STOPPED, 130), lab.log(job.id)
    assert not lab.left(job.id)
    assert b'"released":true' in (lab.folder / "out/_shardmill/lease.json").read_bytes()


@pytest.mark.chaos
def test_two_jobs_share_a_node_and_a_killed_driver_goes_on(lab, source, undisturbed, monkeypatch):
    """Two jobs at once on the same nodes, the driver of one killed with -9: it is started again, the other notices nothing."""
    target = lab.target(nodes=2)
    first, first_runs = pipeline(lab, source, "small-k", "killed")
    second, second_runs = pipeline(lab, source, "small-q", "quiet")
    (lab.folder / "once").mkdir()
    monkeypatch.setenv("SHARDMILL_FAULT", "version.tables-written=kill")
    monkeypatch.setenv("SHARDMILL_FAULT_ONCE", str(lab.folder / "once"))
    assert target.submit(first)
    monkeypatch.delenv("SHARDMILL_FAULT")
    assert target.submit(second)
    assert lab.ended(target, first.id) == (JobState.SUCCEEDED, 0), lab.log(first.id)
    assert lab.ended(target, second.id) == (JobState.SUCCEEDED, 0), lab.log(second.id)
    assert "the driver was killed by SIGKILL" in lab.log(first.id)
    assert "Ray is up on 2 nodes" in lab.log(first.id)
    assert "supervise:" not in lab.log(second.id)
    assert not lab.left(first.id, second.id)
    assert_as_undisturbed(first_runs, undisturbed)
    assert_as_undisturbed(second_runs, undisturbed)


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["time limit", "lost node", "lost head"])
def test_a_job_that_is_queued_again_goes_on(how, lab, source, undisturbed, held):
    """Near its time limit, after a lost node (as Slurm queues it again) and without Ray's head the job is queued again and ends well."""
    target = lab.target()
    job, runs = pipeline(lab, source, f"small-r{how[-2:]}")
    assert target.submit(job)
    in_mid_run(lab, target, job.id, runs)
    number = lab.number(job.id)
    match how:
        case "time limit":
            lab.server.ask("scancel", "--batch", "--signal=USR1", number)
        case "lost node":
            lab.server.ask("scontrol", "requeue", number)
        case "lost head":
            (gcs,) = (path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if is_gcs_of(path, number))
            os.kill(int(gcs.name), 9)
    waited_for(lambda: "Restarts=1" in lab.server.ask("scontrol", "show", "job", number), f"it was not queued again:\n{lab.log(job.id)}")
    held.touch()
    assert lab.ended(target, job.id) == (JobState.SUCCEEDED, 0), lab.log(job.id)
    assert not lab.left(job.id)
    assert_as_undisturbed(runs, undisturbed)


def is_gcs_of(path, number):
    try:
        return b"gcs_server" in path.read_bytes().split(b"\0")[0] and f"sm-{number}-".encode() in path.read_bytes()
    except OSError:
        return False


@pytest.mark.chaos
def test_a_job_is_not_queued_again_for_ever(lab, source, held):
    """At the time limit of its last restart a job has failed, and says that it may be submitted again."""
    target = lab.target(requeues=0)
    job, runs = pipeline(lab, source, "small-l")
    assert target.submit(job)
    in_mid_run(lab, target, job.id, runs)
    lab.server.ask("scancel", "--batch", "--signal=USR1", lab.number(job.id))
    assert lab.ended(target, job.id) == (JobState.FAILED, 130)
    assert "submitted again, it goes on" in target.status(job.id).message
    assert not lab.left(job.id)


@pytest.mark.chaos
def test_the_command_and_an_ingestion_of_nothing_new(lab, source, capfd):
    """`submit --follow` ends with the job's own exit status, 3 where nothing is new: a good end, so that submitted again it is there."""
    file = write_pipeline(lab.folder / "pipeline", source, str(lab.folder / "out"))
    assert main(["run", str(file), "--set", "cluster.type=inline"]) == 0
    words = [str(file), "--to", "slurm", "--ingest"]
    slurm = {"folder": str(lab.folder / "jobs"), "cpus_per_task": 1, "python": sys.executable}
    words += [word for name, value in slurm.items() for word in ("--set", f"submit.slurm.{name}={value}")]
    assert "Job " in said(capfd, "submit", *words, "--test-only")
    assert "nothing is new since v1" in said(capfd, "submit", *words, "--follow", status=3)
    assert "succeeded, exit status 3" in said(capfd, "wait", *words[:1], *words[4:], status=3)
    assert "already there: it is succeeded" in said(capfd, "submit", *words)


def said(capfd, *words, status=0):
    capfd.readouterr()
    assert main(list(words)) == status, capfd.readouterr()
    return capfd.readouterr().out
