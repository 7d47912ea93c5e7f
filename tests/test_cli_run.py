"""The commands around a run, as a user meets them: what they print where, how they end, and what they never tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from corpora import (
    config_of,
    custom,
    differences,
    documents,
    files_of,
    finished,
    output_of,
    pipeline,
    prove,
    records,
    write_jsonl,
    write_parquet,
)

from pipelines.cli import main
from pipelines.config import load
from pipelines.lease import Lease
from pipelines.storage import open_store

ROOT = Path(__file__).parents[1]
OPERATORS = [{"type": "length_filter", "min_chars": 3}, {"type": "exact_dedup"}, {"type": "filter_where", "where": "length(text) < 100"}]
SECRETS = {"AWS_SECRET_ACCESS_KEY": "planted+key/0123456789", "HF_TOKEN": "hf_plantedTokenPlantedToken"}


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A pipeline of two files in a folder of its own."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    for name in ("a", "b"):
        write_parquet(tmp_path / "in" / f"{name}.parquet", documents(60, seed=ord(name)))
    return pipeline(tmp_path / "made.yaml", f"{tmp_path}/in/", tmp_path / "out", OPERATORS)


@dataclass
class Shell:
    """The command in this process."""

    capsys: Any

    def __call__(self, *words: str | Path, status: int = 0) -> tuple[str, str]:
        """Standard output and error of a command that must end with this status; no traceback, ever."""
        found = main([str(word) for word in words])
        out, err = self.capsys.readouterr()
        assert found == status, (found, out, err)
        assert "Traceback" not in out + err
        return out, err

    def json(self, *words: str | Path, status: int = 0) -> dict[str, Any]:
        """What a command with `--json` prints: one object, and nothing else."""
        parsed = json.loads(self(*words, "--json", status=status)[0])
        assert isinstance(parsed, dict)
        return parsed


@pytest.fixture
def shell(capsys) -> Shell:
    return Shell(capsys)


# --- from plan to gc


def test_a_user_goes_from_plan_to_verify(shell, file, tmp_path):
    """Plan, run, status, verify, report, gc: each succeeds and says what it found; the second run says that there is nothing to do."""
    out = tmp_path / "out"
    planned, _ = shell("plan", file)
    assert planned.splitlines()[1].startswith("input: 2 files, 120 rows, ")
    funnel, progress = shell("run", file)
    manifest = output_of(out).manifest
    assert all(entry["name"] in funnel for entry in manifest["operators"])
    assert funnel.splitlines()[-2:] == [
        f"v1 is in {out}; check it with: shardmill verify {out}",
        f"its report: {out}/versions/v1/report.html; read its documents with: shardmill inspect {out}",
    ]
    assert (out / "versions" / "v1" / "report.html").is_file()
    assert "stage 1 of 2, units" in progress
    again, _ = shell("run", file)
    assert again.splitlines()[0] == "made: this output is finished: the same input, pipeline and code made it; there is nothing to do"
    assert "a run would do nothing" in shell("plan", file)[0]
    assert "v1" in shell("status", out)[0]
    shell("verify", out)
    page, _ = shell("report", out)
    assert page == (out / "versions" / "v1" / "report.html").read_text()
    shell("report", out, "--version", "v1", "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == (out / "versions" / "v1" / "report.html").read_bytes()
    assert shell("gc", out)[0] == f"{out}: removed 0 objects, 0.0 MB.\n"
    prove(output_of(out))


def test_json_prints_one_object_and_nothing_else(shell, file, tmp_path):
    """For `run` it is the manifest, also when there was nothing to do; notes and progress go to standard error."""
    out = tmp_path / "out"
    assert shell.json("plan", file)["is_finished"] is False
    made, err = shell("run", file, "--json")
    assert json.loads(made) == output_of(out).manifest
    assert "stage 1 of 2" in err
    again, err = shell("run", file, "--json")
    assert again == made
    assert "there is nothing to do" in err
    assert shell.json("plan", file)["is_finished"] is True
    assert shell.json("status", out)["state"] == "finished"
    assert shell.json("verify", out)["ok"] is True
    assert shell.json("gc", out) == {"objects": 0, "bytes": 0}


def test_replacements_of_secrets_are_told(shell, tmp_path):
    """The plan, the manifest and `validate` name what secrets were replaced with; the same pipeline is then finished."""
    write_parquet(tmp_path / "in" / "a.parquet", [*documents(5, seed=1), {"id": "s", "text": "AKIA" + "QZ7W3E5R1T9Y2U4I"}])
    operator = {"type": "pii_redact", "kinds": ["secret"], "replacements": {"secret": ["A_KEY_WAS_HERE"]}}
    file = pipeline(tmp_path / "made.yaml", f"{tmp_path}/in/", tmp_path / "out", [operator])
    shell("run", file)
    manifest = output_of(tmp_path / "out").manifest
    plan = json.loads((tmp_path / "out" / "_shardmill" / "plan.json").read_text())["body"]
    for settings in (manifest["operators"][0]["settings"], manifest["config"]["operators"][0], plan["config"]["operators"][0]):
        assert settings["replacements"] == operator["replacements"]
    assert "A_KEY_WAS_HERE" in output_of(tmp_path / "out").texts()
    assert "A_KEY_WAS_HERE" in shell("validate", file)[0]
    assert "there is nothing to do" in shell("run", file)[0]


def test_quiet_is_quiet(shell, file):
    """With `--quiet` nothing is on standard error."""
    assert shell("run", file, "--quiet")[1] == ""


def test_limit_takes_the_first_documents(shell, file, tmp_path):
    """`--limit` is a smaller input; the whole one is a new version after it."""
    assert shell.json("plan", file, "--limit", "70")["input"]["rows"] == 70
    few = shell.json("run", file, "--limit", "70")
    assert (few["version"], few["ledger"]["rows_in"]) == ("v1", 70)
    assert {Path(row["uri"]).stem for row in output_of(tmp_path / "out").table("dropped")} == {"a", "b"}
    assert shell.json("run", file)["version"] == "v2"
    _, err = shell("run", file, "--limit", "0", status=2)
    assert "--limit" in err


def test_set_overrides_the_file(shell, file, tmp_path):
    """`--set` goes before the file for plan and run alike, and stands in the manifest."""
    words = ("--set", f"output.uri={tmp_path / 'other'}", "--set", "operators.length_filter.min_chars=6")
    assert shell.json("plan", file, *words)["output"] == str(tmp_path / "other")
    manifest = shell.json("run", file, *words)
    assert manifest["operators"][0]["settings"]["min_chars"] == 6
    assert not (tmp_path / "out").exists()


def test_another_pipeline_may_follow_into_the_same_output(shell, file, tmp_path):
    """It makes the next version; `report` and `verify` take either by name, and gc leaves both."""
    out = tmp_path / "out"
    shell("run", file)
    assert shell.json("run", file, "--set", "operators.length_filter.min_chars=6")["version"] == "v2"
    shell("gc", out)
    for version in ("v1", "v2"):
        assert shell.json("verify", out, "--version", version)["version"] == version
        assert version in shell("report", out, "--version", version)[0]
    shell("report", out, "--version", "../v1", status=2)
    _, err = shell("report", out, "--version", "v9", status=1)
    assert "version v9 is not finished here; the current one is v2" in err


# --- how it fails


def test_a_wrong_file_is_a_usage_error(shell, file, tmp_path):
    """Exit 2, a line a problem with the place, before anything is touched."""
    _, err = shell("run", file, "--set", "operators.length_filter.min_char=3", "--set", "execution.on_error=ignore", status=2)
    first, second = err.splitlines()
    assert first.startswith("--set operators.length_filter.min_char: ")
    assert second.startswith("--set execution.on_error: ")
    assert "did you mean 'min_chars'?" in err
    _, err = shell("run", tmp_path / "none.yaml", status=2)
    assert "none.yaml" in err
    assert not (tmp_path / "out").exists()
    for words in (("run",), ("run", file, "--nonsense"), ("verify",), ("nonsense",)):
        shell(*words, status=2)


def test_an_input_that_is_not_there_is_one_line(shell, file, tmp_path):
    """Exit 1; the message names the pattern."""
    for command in ("plan", "run"):
        _, err = shell(command, file, "--set", f"input.uri={tmp_path}/nowhere/*.parquet", status=1)
        assert err.splitlines()[-1].startswith(f"shardmill: input {tmp_path}/nowhere/*.parquet: no file there")


def test_an_exhausted_budget_is_one_line_and_the_run_can_go_on(shell, file, tmp_path):
    """Exit 1 with numbers and remedy; with a larger fraction the same output is finished."""
    write_jsonl(tmp_path / "in" / "c.jsonl", [b"broken", {"text": "sound"}])
    _, err = shell("run", file, "--quiet", status=1)
    assert err.startswith("shardmill: 1 of 122 rows are quarantined (invalid_json 1 in the last unit)")
    assert err.count("\n") == 1
    assert shell.json("status", tmp_path / "out")["state"] == "stopped"
    assert shell.json("run", file, "--set", "execution.max_quarantined_fraction=0.5")["ledger"]["quarantined"] == {"invalid_json": 1}


def test_a_lost_row_ends_with_4(shell, file, tmp_path):
    """A ledger that does not balance is a failed check: the operator is named and nothing is published."""
    loses = custom(tmp_path, "return Result(batch.slice(1) if batch.num_rows else batch)")
    pipeline(file, f"{tmp_path}/in/", tmp_path / "out", [*OPERATORS, loses])
    _, err = shell("run", file, "--quiet", status=4)
    assert "operator 'mine' was given" in err
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_verify_ends_with_4_where_a_promise_is_broken(shell, file, tmp_path):
    """Nothing finished, a shard that is gone, a byte that changed: 4 each, the file named, and with `--json` still one object."""
    out = tmp_path / "out"
    assert "manifest.json" in "".join(shell("verify", out, status=4))
    shell("run", file)
    [name, *_] = output_of(out).shards()
    whole = (out / name).read_bytes()
    (out / name).write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    text, err = shell("verify", out, status=4)
    assert name in text
    assert f"{out}: 1 of " in err
    found = shell.json("verify", out, status=4)
    assert found["ok"] is False
    assert name in {check["subject"] for check in found["checks"] if not check["ok"]}
    (out / name).unlink()
    assert name in shell("verify", out, status=4)[0]


def test_what_is_not_there_has_no_report(shell, tmp_path):
    """Exit 1, with what to do; status says that nothing has begun."""
    nowhere = tmp_path / "nowhere"
    _, err = shell("report", nowhere, status=1)
    assert (
        err
        == f"shardmill: {nowhere}: there is no manifest.json: no version is finished; `shardmill status {nowhere}` says where the run is\n"
    )
    assert shell.json("status", nowhere)["state"] == "nothing"
    assert not nowhere.exists()


def test_a_report_that_cannot_be_written_is_one_line(shell, file, tmp_path):
    """A user's wrong path is no bug of ours."""
    shell("run", file)
    _, err = shell("report", tmp_path / "out", "--output", tmp_path / "no" / "folder" / "page.html", status=1)
    assert "page.html" in err
    assert "bug" not in err


def test_an_output_that_another_run_writes_is_refused(shell, file, tmp_path):
    """Exit 1 for `run` and `gc`: the message says who it is; afterwards both work."""
    with Lease(open_store(str(tmp_path / "out")), lambda: "stage 1 of 2, units: 3 of 4"):
        _, err = shell("run", file, "--quiet", status=1)
        assert f"another run is writing this output: process {os.getpid()} on " in err
        assert "stage 1 of 2, units: 3 of 4" in err
        shell("gc", tmp_path / "out", status=1)
        assert shell.json("status", tmp_path / "out")["lease"]["pid"] == os.getpid()
    shell("run", file)


def test_debug_shows_where_an_error_came_from(capsys, tmp_path):
    """Only with `--debug` is there a traceback."""
    assert main(["report", str(tmp_path), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


# --- interrupted

WAITS = """
import os, signal, threading
if batch.num_rows and not os.path.exists({flag!r}):
    with open({fifo!r}, "w") as told:
        told.write("here")
    threading.Event().wait()
return Result(batch)
"""


@dataclass
class Interrupted:
    """A run in a process of its own whose last operator tells when it is reached, and then waits for ever, until a file is there."""

    folder: Path
    cluster: dict[str, Any]

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            write_parquet(self.folder / "in" / f"{name}.parquet", documents(60, seed=ord(name)))
        os.mkfifo(self.fifo)
        waits = custom(self.folder, WAITS.format(flag=str(self.flag), fifo=str(self.fifo)))
        self.operators = [*OPERATORS, waits]
        self.execution = {"unit_bytes": "4KiB", "batch_bytes": "1KiB"}
        sections = {"execution": self.execution, "cluster": self.cluster}
        self.file = pipeline(self.folder / "made.yaml", f"{self.folder}/in/", self.folder / "out", self.operators, **sections)

    @property
    def flag(self) -> Path:
        return self.folder / "flag"

    @property
    def fifo(self) -> Path:
        return self.folder / "fifo"

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "run", str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def interrupt(self, number: signal.Signals, **environment: str) -> tuple[int, str, str]:
        """Start, wait until the operator is reached, send the signal to the whole group as a terminal does, and wait for the end."""
        process = self.start(**environment)
        try:
            self.fifo.read_text()
            os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        return process.returncode, out, err

    def resume(self, **environment: str) -> tuple[str, str]:
        self.flag.touch()
        process = self.start(**environment)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out, err

    def check(self) -> None:
        """What was resumed is what an undisturbed run gives."""
        prove(output_of(self.folder / "out"))
        undisturbed = config_of(self.folder / "u.yaml", f"{self.folder}/in/", self.folder / "undisturbed", self.operators)
        finished(undisturbed)
        assert differences(files_of(self.folder / "out"), files_of(self.folder / "undisturbed")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.chaos)], ids=lambda number: number.name)
def test_an_interrupted_run_ends_with_130_and_goes_on(tmp_path, shell, number):
    """Ctrl-C or SIGTERM: one line, the lease given back, and the next run finishes what was begun with what was committed."""
    run = Interrupted(tmp_path, {"type": "inline"})
    status, out, err = run.interrupt(number)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "shardmill: interrupted"
    assert "Traceback" not in err
    found = shell.json("status", tmp_path / "out")
    assert (found["state"], found["lease"]) == ("stopped", None)
    before = {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}
    assert before
    run.resume()
    after = {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}
    assert before.items() < after.items()
    run.check()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="sm-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.ray
@pytest.mark.chaos
def test_a_run_on_ray_that_is_terminated_ends_with_130_and_tells_no_secret(tmp_path, short_folder):
    """Its workers are stopped, a run without Ray goes on with what they committed; no secret is in any file, log or message."""
    run = Interrupted(tmp_path, {"type": "local", "num_cpus": 1})
    status, out, err = run.interrupt(signal.SIGTERM, **SECRETS, RAY_TMPDIR=str(short_folder))
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "shardmill: interrupted"
    before = {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}
    assert before
    run.flag.touch()
    finished(config_of(run.file, f"{tmp_path}/in/", tmp_path / "out", run.operators, execution=run.execution))
    assert before.items() < {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}.items()
    run.check()
    assert list(short_folder.rglob("*.log")), "Ray's logs are elsewhere"
    assert_untold([out, err], tmp_path, short_folder)


# --- secrets


def assert_untold(texts: list[str], *folders: Path) -> None:
    """No secret is in any of the texts, nor in the bytes of any file below the folders."""
    for value in SECRETS.values():
        assert not [text for text in texts if value in text]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        assert [path for path in files if value.encode() in path.read_bytes()] == []


def test_no_secret_of_the_environment_is_written_anywhere(shell, file, tmp_path, monkeypatch):
    """Not even where an operator puts it into its errors: quarantine, manifest, records, report and messages are free of it."""
    leaks = """
import os
for text in batch.column("text").to_pylist():
    if text == "short":
        raise RuntimeError("denied with " + os.environ["AWS_SECRET_ACCESS_KEY"] + " and " + os.environ["HF_TOKEN"])
return Result(batch)
"""
    pipeline(file, f"{tmp_path}/in/", tmp_path / "out", [custom(tmp_path, leaks)], execution={"max_quarantined_fraction": 0.5})
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    texts = [*shell("plan", file), *shell("run", file), *shell("status", tmp_path / "out"), *shell("report", tmp_path / "out")]
    texts += shell("run", file, "--set", "execution.on_error=fail", "--set", f"output.uri={tmp_path / 'strict'}", status=1)
    assert "denied with [redacted] and [redacted]" in texts[-1]
    quarantined = output_of(tmp_path / "out").table("quarantine")
    assert {row["message"] for row in quarantined} == {"denied with [redacted] and [redacted]"}
    assert_untold(texts, tmp_path)


def test_a_secret_in_the_pipeline_is_refused(shell, file, tmp_path):
    """Keys belong into the environment; the message says where, and does not repeat the value."""
    _, err = shell("run", file, "--set", "output.storage_options.secret=planted+key/0123456789", status=2)
    assert "secrets come from the environment" in err
    assert "planted+key" not in err
    assert not (tmp_path / "out").exists()


def test_a_signature_in_an_asset_s_address_is_not_told(shell, file, tmp_path):
    """The message says which file is not there, without what opens the door to it."""
    signed = "memory://lists/absent.txt?X-Amz-Signature=0123456789abcdef"
    pipeline(file, f"{tmp_path}/in/", tmp_path / "out", [{"type": "url_filter", "url_column": "id", "domain_lists": [signed]}])
    _, err = shell("plan", file, status=2)
    assert "absent.txt" in err
    assert "0123456789abcdef" not in err


def test_what_the_environment_fills_in_is_in_the_manifest_but_for_secrets(shell, file, tmp_path, monkeypatch):
    """`${NAME}` is replaced before the run, so that the manifest tells what was really done."""
    monkeypatch.setenv("SHARDMILL_TEST_MIN", "4")
    shell("run", file, "--set", "operators.length_filter.min_chars=${SHARDMILL_TEST_MIN}")
    assert output_of(tmp_path / "out").manifest["config"]["operators"][0]["min_chars"] == 4
    assert load(file).operators[0].model_dump()["min_chars"] == 3
