"""What answers at the address of a cluster: nobody, a stranger, one that wants a token, another Ray; each is said in seconds."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from cluster import ray_dashboard, ray_jobs
from cluster.ray_dashboard import check_dashboard
from cluster.ray_jobs import RayJobs
from cluster.target import Job, JobState, TargetError

TOKEN = "0123456789abcdef0123456789abcdef"
HERE = metadata.version("ray")
ROOT = Path(__file__).parent.parent


class Dashboard(ThreadingHTTPServer):
    """Answers every request with one status and body, or as a dashboard that wants `token`."""

    def __init__(self):
        self.status, self.body, self.token, self.seen = 200, b"", "", []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self):
        said = self.headers.get("Authorization")
        self.server.seen.append(said)
        status = self.server.status
        if self.server.token and said is None:
            status = 401
        elif self.server.token and said != f"Bearer {self.server.token}":
            status = 403
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def dashboard(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.body = json.dumps({"ray_version": HERE}).encode()
        yield server
        server.shutdown()
        thread.join()


def refused(address, **options):
    with pytest.raises(TargetError) as caught:
        check_dashboard(address, **options)
    return str(caught.value)


def test_a_dashboard_of_this_ray_is_fine(dashboard):
    """Without a token none is sent."""
    check_dashboard(dashboard.address)
    assert dashboard.seen == [None]


def test_nobody_listens(dashboard):
    """The address, and how the dashboard is started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        said = refused(f"http://127.0.0.1:{probe.getsockname()[1]}")
    assert "nothing answers there" in said
    assert "--include-dashboard=true" in said


def test_somebody_listens_and_never_answers(monkeypatch):
    """It is given up after a deadline."""
    monkeypatch.setattr(ray_dashboard, "REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "nothing answers there (timed out)" in refused(f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"no"), (500, b"no"), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (200, b"\xff\xfe")], ids=str
)
def test_a_stranger_answers(status, body, dashboard):
    """Anything else than Ray's version is no dashboard."""
    dashboard.status, dashboard.body = status, body
    assert "not Ray's dashboard" in refused(dashboard.address)


def test_tokens(dashboard, monkeypatch, tmp_path):
    """Missing and wrong ones are told apart; where the one that was used comes from is said, never the token itself."""
    dashboard.token = TOKEN
    assert "wants a token, and none was given" in refused(dashboard.address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "no token:" in refused(dashboard.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 8)
    said = refused(dashboard.address)
    assert "refuses the token (that of RAY_AUTH_TOKEN)" in said
    assert "wrongwrong" not in said
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert "No such file" in refused(dashboard.address)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    check_dashboard(dashboard.address)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    check_dashboard(dashboard.address, str(tmp_path / "token"))


def test_another_version(dashboard):
    """A cluster of another minor version is refused, unless that is switched off; a patch release is not."""
    major, minor, *_ = HERE.split(".")
    dashboard.body = json.dumps({"ray_version": f"{major}.{minor}.99"}).encode()
    check_dashboard(dashboard.address)
    dashboard.body = json.dumps({"ray_version": "2.3.1"}).encode()
    said = refused(dashboard.address)
    assert "the cluster runs Ray 2.3.1" in said
    assert "check_version: false" in said
    check_dashboard(dashboard.address, check_version=False)


def test_which_address_is_meant(dashboard, monkeypatch):
    """The file's, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS where it is an http address, else this machine."""
    assert RayJobs.of({}).place == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert RayJobs.of({}).place == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://a:8265/")
    assert RayJobs.of({}).place == "http://a:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://b:8265")
    assert RayJobs.of({}).place == "http://b:8265"
    assert RayJobs.of({"address": "http://c:8265"}).place == "http://c:8265"


def test_what_is_sent(tmp_path):
    """Nothing of the environment but plain settings; the shell gets every word as it is."""
    words = ("run", "p.yaml", "--set", "output.uri=it's $HOME; `x`")
    job = Job("x-1", "x", words, tmp_path, {"AWS_REGION": "a b"}, ("AWS_SECRET_ACCESS_KEY",), ("p.yaml",))
    options = {"python": "/opt/my python", "restarts": 7, "stop_seconds": 9, "pip": ["a==1"], "driver_cpus": 0.5, "environment": {"B": "2"}}
    sent = RayJobs.of(options)._sent(job, "gcs://x.zip")
    quoted = """'output.uri=it'"'"'s $HOME; `x`'"""
    assert sent.pop("entrypoint") == (
        f"exec env 'AWS_REGION=a b' B=2 '/opt/my python' -m cluster.supervise --restarts 7 --grace 9 -- shardmill run p.yaml --set {quoted}"
    )
    assert sent == {
        "submission_id": "x-1",
        "runtime_env": {"working_dir": "gcs://x.zip", "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "9"}, "pip": ["a==1"]},
        "metadata": {"pipeline": "x", "made_by": "shardmill"},
        "entrypoint_num_cpus": 0.5,
    }


DESCRIBED_TWICE = """
import pathlib, sys
from cluster.ray_jobs import RayJobs
from cluster.target import Job
folder = pathlib.Path(sys.argv[1])
job = Job("x-1", "x", ("run", "p.yaml"), folder, files=("p.yaml",))
said = []
for text in ("name: x", "name: x", "name: y"):
    (folder / "p.yaml").write_text(text)
    said.append(RayJobs.of({}).describe(job))
assert said[0] == said[1] != said[2], said
print(said[0])
"""


def test_the_same_content_is_the_same_package(tmp_path):
    """What is printed of a job asks no cluster and needs no token; its package is named by its content."""
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DESCRIBED_TWICE, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert re.fullmatch(r"gcs://_ray_pkg_[0-9a-f]+\.zip", found["runtime_env"]["working_dir"])
    assert (found["working_dir"]["files"], found["address"]) == (["p.yaml"], "http://127.0.0.1:8265")


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("PENDING", None, (JobState.PENDING, None)),
        ("SUCCEEDED", 0, (JobState.SUCCEEDED, 0)),
        ("FAILED", 2, (JobState.FAILED, 2)),
        ("FAILED", 3, (JobState.SUCCEEDED, 3)),
        ("FAILED", -9, (JobState.FAILED, 137)),
        ("STOPPED", None, (JobState.STOPPED, None)),
        ("SOMETHING", None, (JobState.UNKNOWN, None)),
    ],
)
def test_what_became_of_a_job(state, code, expected):
    """Ray's states as ours; a signal is 128 and its number; nothing new is a good end."""
    found = ray_jobs._status(state, code, "a line\nanother")
    assert (found.state, found.exit_code, found.message) == (*expected, "a line")


def test_why_a_job_failed_is_what_its_driver_said_last():
    """Ray's message of a driver that ended by itself holds the end of its log."""
    message = "Job entrypoint command failed with exit code 2, last available logs (truncated to 20,000 chars):\nsmall: listing\nbad key\n"
    assert ray_jobs._status("FAILED", 2, message).message == "bad key"


class Chunks:
    """A log that comes in pieces, and may break; `ends` says how each connection ends."""

    def __init__(self, text, ends):
        self.text, self.ends = text, list(ends)

    async def __call__(self, job_id):
        stop = self.ends.pop(0)
        for start in range(0, stop, 7):
            yield self.text[start : min(start + 7, stop)]
        if stop < len(self.text):
            raise RuntimeError("the connection was closed")


@pytest.mark.parametrize("ends", [[40], [0, 40], [11, 12, 40], [33, 40]], ids=str)
def test_a_followed_log_is_whole_though_the_connection_breaks(ends, monkeypatch):
    """Every line once, in order, however it was cut."""
    monkeypatch.setattr(ray_jobs, "RECONNECT_SECONDS", 0.0)
    text = "one\ntwo two\n\nthree three three\nfour\nlast"
    assert len(text) == 40
    target = RayJobs.of({})
    client = type("Client", (), {"tail_job_logs": Chunks(text, ends), "get_job_logs": lambda self, job_id: text})()
    monkeypatch.setattr(target, "_client", lambda: client)
    states = iter([ray_jobs._status("RUNNING", None, "")] * len(ends) + [ray_jobs._status("SUCCEEDED", 0, "")])
    monkeypatch.setattr(
        target, "status", lambda job_id: next(states) if client.tail_job_logs.ends else ray_jobs._status("SUCCEEDED", 0, "")
    )
    assert list(target.logs("x", follow=True)) == text.split("\n")


def test_a_log_is_followed_though_the_dashboard_is_away_for_a_moment(monkeypatch):
    """The log has ended, and nobody says whether the job has: it is asked again, and no line comes twice."""
    monkeypatch.setattr(ray_jobs, "RECONNECT_SECONDS", 0.0)
    target = RayJobs.of({})
    client = type("Client", (), {"tail_job_logs": Chunks("one\ntwo", [7, 7, 7]), "get_job_logs": lambda self, job_id: "one\ntwo"})()
    monkeypatch.setattr(target, "_client", lambda: client)
    answers = iter([ray_jobs._status("RUNNING", None, ""), TargetError("it has stopped to answer"), ray_jobs._status("RUNNING", None, "")])

    def status(job_id):
        found = next(answers, ray_jobs._status("SUCCEEDED", 0, ""))
        if isinstance(found, TargetError):
            raise found
        return found

    monkeypatch.setattr(target, "status", status)
    assert list(target.logs("x", follow=True)) == ["one", "two"]


def test_a_log_that_cannot_be_followed_is_given_up(monkeypatch):
    """A connection that breaks again and again without a new line ends with an error."""
    monkeypatch.setattr(ray_jobs, "RECONNECT_SECONDS", 0.0)
    target = RayJobs.of({})
    client = type("Client", (), {"tail_job_logs": Chunks("x" * 40, [0] * 100)})()
    monkeypatch.setattr(target, "_client", lambda: client)
    monkeypatch.setattr(target, "status", lambda job_id: ray_jobs._status("RUNNING", None, ""))
    with pytest.raises(TargetError, match="cannot be followed"):
        list(target.logs("x", follow=True))
