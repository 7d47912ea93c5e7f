"""Submitted to a real Ray of three nodes: once, followed, stopped, gone on with, the driver killed; the result is the undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipelines_made import ROOT, Runs, contents, operators, orphans, same, write_input, write_pipeline
from ray_nodes import RayNodes, ray_nodes
from ray_servers import command

from pipelines.storage import open_store

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

WITNESS = '''

class Witness(Measure):
    """Writes down where it was loaded from, in which process."""

    type: Literal["witness"] = "witness"
    folder: str

    def open(self, assets):
        import pathlib
        inner = super().open(assets)
        def witness(batch):
            (pathlib.Path(self.folder) / str(os.getpid())).write_text(__file__)
            return inner(batch)
        return witness
'''


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # Ray's own 30 s are too few where much else is going on
        with ray_nodes(workers=2, head_cpus=1) as found:
            yield found


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """The files of a run without Ray that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(write_pipeline(folder, source, str(folder / "out")), folder / "runs")
    runs.finish(limits=None)
    return contents(runs.store())


@dataclass
class Shell:
    """The command in processes of its own, with the cluster's address and token in the environment."""

    nodes: RayNodes
    file: Path
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, name: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        known = {"RAY_API_SERVER_ADDRESS": self.nodes.dashboard, "PYTHONPATH": str(ROOT)}
        variables = {**os.environ, **self.nodes.environment, **known, **self.environment, **environment}
        line = [sys.executable, "-m", "pipelines.cli", name, str(self.file), *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(line, env=variables, cwd=self.file.parent, **pipes)

    def __call__(self, name: str, *words: str, status: int = 0, **environment: str) -> str:
        child = self.start(name, *words, **environment)
        out, err = child.communicate(timeout=300)
        assert child.returncode == status, (child.returncode, out, err)
        assert "Traceback" not in err
        return out

    def submit(self, *words: str, **environment: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("submit", "--to", "ray", "--json", *words, **environment))
        return found

    def drivers(self) -> list[int]:
        """Drivers of this pipeline."""
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if f"-m pipelines.cli run {self.file.name} " in command(pid)]


@pytest.fixture
def shell(nodes, source, shm_path, request):
    """A pipeline with a name of its own; the submitted command tells it from others' on this machine."""
    name = "".join(each if each.isalnum() else "-" for each in request.node.name)[-30:].strip("-")
    path = write_pipeline(shm_path / "pipeline", source, str(shm_path / "out"))
    made = yaml.safe_load(path.read_text()) | {"submit": {"ray": {"python": sys.executable}}}
    file = path.with_name(f"{name}-{os.getpid()}.yaml")
    file.write_text(yaml.safe_dump(made, sort_keys=False))
    path.unlink()
    return Shell(nodes, file, shm_path / "out")


def assert_undisturbed(shell, undisturbed):
    store = open_store(str(shell.output))
    assert not same(contents(store), undisturbed)
    assert not orphans(store)


def until(condition, said=str, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said()
        threading.Event().wait(0.05)


def test_submitted_twice_it_runs_once_and_is_followed(shell, undisturbed):
    """Two at the same moment are one job; `--follow` and `wait` end with its status, `logs` shows what the driver wrote."""
    both = [shell.start("submit", "--to", "ray", "--json") for _ in range(2)]
    said = [json.loads(child.communicate(timeout=300)[0]) for child in both]
    assert sorted(found["submitted"] for found in said) == [False, True]
    assert said[0]["id"] == said[1]["id"]
    followed = shell("submit", "--to", "ray", "--follow")
    assert "packing: shards" in followed
    assert json.loads(shell("wait", "--json"))["state"] == "succeeded"
    assert "v1 is in" in shell("logs")
    assert shell.submit()["submitted"] is False
    assert_undisturbed(shell, undisturbed)


def test_a_stopped_job_gives_back_its_lease_and_is_gone_on_with(shell, undisturbed, tmp_path):
    """`stop` ends the driver in good order; Ctrl-C on `logs --follow` does not; submitted again it is another try of the same job."""
    fault = {"SHARDMILL_FAULT": f"run.packed=wait:{tmp_path}/wake"}
    first = shell.submit(**fault)["id"]
    follower = shell.start("logs", "--follow")
    said = []
    for line in follower.stdout:
        said.append(line)
        if line.startswith("packing: side tables"):
            break
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=60)
    assert follower.returncode == 130, ("".join(said), out, err)
    assert "goes on without you" in err
    assert shell.drivers()
    assert "What it has committed stays" in shell("stop")
    assert not shell.drivers()
    assert json.loads((shell.output / "_shardmill" / "lease.json").read_text())["body"]["released"] is True
    assert json.loads(shell("wait", "--json", status=130))["state"] == "stopped"
    assert "was not running" in shell("stop")
    assert shell.submit()["id"] == f"{first}-2"
    shell("wait")
    assert_undisturbed(shell, undisturbed)


def test_a_driver_that_is_killed_is_started_again(shell, undisturbed, tmp_path):
    """kill -9 of the driver's process, and once more by a fault before the manifest: the job succeeds all the same."""
    (tmp_path / "once").mkdir()
    faults = f"run.packed=wait:{tmp_path}/wake,version.tables-written=kill"
    shell.submit(SHARDMILL_FAULT=faults, SHARDMILL_FAULT_ONCE=str(tmp_path / "once"))
    until((tmp_path / "once" / "run.packed").exists)
    (driver,) = [pid for pid in shell.drivers() if "cluster.supervise" not in command(pid)]
    os.kill(driver, signal.SIGKILL)
    assert json.loads(shell("wait", "--json"))["exit_code"] == 0
    assert shell("logs").count("killed by SIGKILL; it is started again") == 2
    assert_undisturbed(shell, undisturbed)


def test_exit_statuses_are_the_jobs_own(shell):
    """1 of a run that fails, 2 of a pipeline that cannot be loaded there; after both the next try has the next number."""
    failing = ("--set", "execution.max_quarantined_fraction=0")
    first = shell.submit(*failing)["id"]
    assert "quarantined" in json.loads(shell("wait", "--json", status=1))["message"] + shell("logs")
    again = shell.start("submit", "--to", "ray", "--follow", *failing)
    again.communicate(timeout=300)
    assert again.returncode == 1
    assert json.loads(shell("wait", "--json", "--id", f"{first}-2", status=1))["exit_code"] == 1
    shell.file.write_text(shell.file.read_text() + "history: ${ONLY_HERE}\n")
    here = {"ONLY_HERE": str(shell.output.parent / "kept")}
    shell.submit("--id", "not-there", **here)
    shell("wait", "--id", "not-there", status=2, **here)
    assert "the environment has no variable ONLY_HERE" in shell("logs", "--id", "not-there", **here)


def test_own_operators_reach_the_workers_of_every_node(shell, tmp_path, nodes):
    """Modules beside the pipeline are loaded from what was sent, on each of the nodes, though the folder is gone."""
    seen = tmp_path / "seen"
    seen.mkdir()
    own = shell.file.parent / "own.py"
    own.write_text(own.read_text() + WITNESS)
    made = yaml.safe_load(shell.file.read_text())
    made["operators"] = [
        {"type": "own:Witness", "name": "measure", "folder": str(seen)} if o["type"] == "own:Measure" else o for o in operators()
    ]
    shell.file.write_text(yaml.safe_dump(made, sort_keys=False))
    wake = tmp_path / "wake"
    shell.submit(SHARDMILL_FAULT=f"run.planned=wait:{wake}")
    shell.file.parent.rename(shell.file.parent.with_name("moved"))
    wake.touch()
    moved = Shell(nodes, shell.file.parent.with_name("moved") / shell.file.name, shell.output)
    moved("wait")
    places = {path.read_text() for path in seen.iterdir()}
    assert places
    assert all("working_dir_files" in place for place in places), places
    folders = {str(Path(place).relative_to(nodes.folder)).split("/")[0] for place in places}
    assert len(folders) > 1, places


def test_tokens_and_secrets(shell, nodes):
    """A missing and a wrong token are one message within seconds; nothing secret of this environment is in what Ray keeps of the job."""
    begun = time.monotonic()
    refused = shell.start("submit", "--to", "ray", RAY_AUTH_TOKEN="0" * 64)
    assert "refuses the token" in refused.communicate(timeout=60)[1]
    assert refused.returncode == 1
    missing = shell.start("submit", "--to", "ray", RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="")
    assert "wants a token, and none was given" in missing.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 60
    secret = "planted+secret+0123456789"
    found = shell.submit("--id", "secrets", AWS_SECRET_ACCESS_KEY=secret, HF_TOKEN=secret)
    shell("wait")
    code = "import sys; from ray.job_submission import JobSubmissionClient as C; print(C(sys.argv[1]).get_job_info(sys.argv[2]).json())"
    environment = {**os.environ, **nodes.environment}
    kept = subprocess.run([sys.executable, "-c", code, nodes.dashboard, found["id"]], env=environment, capture_output=True, text=True)
    assert kept.returncode == 0, kept.stderr
    assert found["id"] in kept.stdout
    assert secret not in kept.stdout + shell("logs") + "".join(path.read_text() for path in shell.output.rglob("*.json"))
    assert nodes.environment["RAY_AUTH_TOKEN"] not in kept.stdout + shell("logs")
