"""Every entry of the runbook (docs/operations.md) is provoked, and what the user then sees is in the entry and leads to it.

Those that need Ray, or minutes, are in test_operations_chaos.py.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpora import SCHEMA, custom, documents, pipeline, write_parquet
from pipelines_made import Runs, write_input, write_pipeline
from provocations import lines_of, provokes
from publications import REPO

from pipelines import errors, runbook, trouble, worker
from pipelines.cli import main
from pipelines.cli_schedule import StoreClock
from pipelines.commit import sealed
from pipelines.lease import PATH as LEASE
from pipelines.lease import Holder, Lease
from pipelines.runbook import pointer
from pipelines.storage import open_store
from pipelines.storage_retry import Backoff

ROOT = Path(__file__).parents[1]
STEPS = [{"type": "length_filter", "min_chars": 2}]
SMALL = {"unit_bytes": "1KiB"}
HERE = "import pathlib\nif batch.num_rows:\n    {}\nreturn Result(batch)"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nothing is waited for: neither a store nor a disk."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.setattr("pipelines.storage_contract.Backoff", functools.partial(Backoff, sleep=lambda _seconds: None))
    monkeypatch.setattr("cluster.retry.BASE_SECONDS", 0.0)


@pytest.fixture
def shell(capfd):
    """The command; what it printed, and that its status is the one of the contract."""

    def run(*words, status=1):
        found = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert found == status, (found, out, err)
        return out + err

    return run


@pytest.fixture
def source(tmp_path):
    """A folder with an input of one file."""
    write_parquet(tmp_path / "in" / "a.parquet", documents(60), 10)
    return tmp_path


def made(source, operators=STEPS, target=None, **sections):
    """A pipeline file over the folder's input."""
    sections.setdefault("execution", SMALL)
    return pipeline(source / "p.yaml", f"{source}/in/", target or source / "out", operators, **sections)


def on_s3(source, server, proxy, **sections):
    """The same, with its output behind a proxy that breaks S3."""
    return made(source, target=f"s3://{server.make_bucket()}/clean", output={"storage_options": proxy.options}, **sections)


# --- the runbook, the table and the messages agree


def test_every_entry_that_an_error_leads_to_is_there():
    assert set(filter(None, runbook.ENTRIES.values())) <= set(runbook.entries())
    assert {value for name, value in vars(runbook).items() if name.isupper() and isinstance(value, str) and name != "DOCUMENT"} == set(
        runbook.entries()
    )


def test_every_line_of_every_entry_is_provoked():
    """By the decorators of this file and the one beside it."""
    text = "".join((ROOT / "tests" / name).read_text() for name in ("test_operations.py", "test_operations_chaos.py"))
    found = re.findall(r'(?:@provokes|shows)\("([a-z0-9-]+)", ([\d, ]+)', text)
    provoked = {(entry, int(number)) for entry, numbers in found for number in re.findall(r"\d+", numbers)}
    assert provoked == {(entry, number) for entry in runbook.entries() for number in range(len(lines_of(entry)))}


def test_every_error_leads_somewhere_or_says_it_all():
    """A new class of error is decided about: it has an entry, its base has, or it is one of these, whose message is enough."""
    enough = {"ShardmillError", "ConfigError", "InputError", "StorageError", "NotFound", "Conflict", "LocationUnreadable", "UnsafeStore"}
    enough |= {"NothingToLearn", "GuardBreached", "NoFiles"}
    known = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.ShardmillError)}
    assert {name for name, kind in known.items() if runbook.entry_for(kind("what happened")) is None} == enough


def test_every_entry_says_what_it_means_what_to_do_and_what_not():
    for name, text in runbook.entries().items():
        assert "**Don't**" in text, name
        assert name == runbook.DELETABLE or "- **Means:**" in text, name


def test_the_runbook_is_read_with_the_command(shell):
    """Where only the command is installed: the list, an entry, and a word for one that is not there."""
    listed = shell("runbook", status=0)
    assert [line.split()[0] for line in listed.splitlines()] == list(runbook.entries())
    assert shell("runbook", "a-node-dies", status=0).startswith("## A node dies\n")
    assert "a-node-dies" in shell("runbook", "a-node-dyes", status=2)


def test_commands_that_the_runbook_names_exist():
    from pipelines.cli import cli

    named = set(re.findall(r"shardmill ([a-z]+)", runbook._text()))
    assert named - {"or"} <= set(cli.commands) | {"is", "for"}


def test_the_wheel_has_the_runbook_and_the_recipes():
    """`pip install` brings no folders docs and configs: the build puts the files beside the modules that read them."""
    import tomllib

    from pipelines import starter

    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"] == {runbook.DOCUMENT: "pipelines/operations.md", "configs": f"pipelines/{starter.RECIPES[0].name}"}


# --- the driver dies


@provokes("the-driver-dies", 0)
def test_a_driver_that_was_killed(tmp_path, shm_path, shell):
    """The next status says what to do; doing it ends the run."""
    runs = Runs(write_pipeline(shm_path / "p", write_input(tmp_path / "input"), str(shm_path / "out")), tmp_path / "runs")
    assert runs.start("commit.after-record@3=kill").wait() == -signal.SIGKILL
    told = shell("status", shm_path / "out", status=0)
    runs.finish()
    assert "finished" in shell("status", shm_path / "out", status=0)
    return told


@provokes("the-driver-dies", 1)
def test_a_driver_that_is_silent_elsewhere(source, shell):
    store = open_store(str(source / "out"))
    store.create(LEASE, sealed(asdict(Holder("1" * 16, 1, "elsewhere", "another", 7, "1"))))
    os.utime(source / "out" / LEASE, (0, 0))
    return shell("status", source / "out", status=0)


# --- the store


@provokes("the-store-throttles", 0)
def test_a_wait_for_the_store_is_told(source, shell, s3_server, fault_proxy):
    """What otherwise looks like a process that hangs."""
    fault_proxy.add("refuse", retry_after="9", times=3)
    return shell("run", on_s3(source, s3_server, fault_proxy), status=0)


@provokes("the-store-throttles", 1)
def test_a_unit_that_was_throttled_is_tried_again(source, shell, s3_server, fault_proxy):
    """It is told while it is done; the run ends well."""
    fault_proxy.add("refuse", method="PUT", matching="/parts/", times=20)
    return shell("run", on_s3(source, s3_server, fault_proxy), status=0)


@provokes("the-store-throttles", 2)
def test_a_store_that_throttles_for_good(source, shell, s3_server, fault_proxy):
    fault_proxy.add("refuse")
    return shell("run", on_s3(source, s3_server, fault_proxy))


@provokes("the-store-throttles", 3)
def test_a_store_that_is_not_there(source, shell, s3_server):
    return shell("run", made(source, target="s3://bucket/clean", output={"storage_options": {"endpoint_url": "http://127.0.0.1:9"}}))


@provokes("the-store-throttles", 4)
def test_a_store_that_cuts_every_connection(source, shell, s3_server, fault_proxy):
    fault_proxy.add("cut_before")
    return shell("run", on_s3(source, s3_server, fault_proxy))


# --- units


@provokes("a-unit-keeps-failing", 0, 1)
def test_an_operator_that_raises(source, shell):
    body = HERE.format("raise ValueError('boom')")
    return shell("run", made(source, [custom(source, body)], execution={**SMALL, "on_error": "fail"}))


@provokes("a-unit-keeps-failing", 2)
def test_an_operator_that_cannot_be_opened(source, shell):
    return shell("run", made(source, [custom(source, "raise ValueError('boom')")]))


@provokes("a-unit-keeps-failing", 3)
def test_an_operator_that_breaks_its_contract(source, shell):
    return shell("run", made(source, [custom(source, HERE.format("return Result(batch.select(['id']))"))]))


@provokes("too-much-is-quarantined", 0)
def test_an_operator_that_raises_for_all_rows(source, shell):
    """The message, and the status afterwards; with a repaired operator the run ends."""
    told = shell("run", made(source, [custom(source, HERE.format("raise ValueError('boom')"))]))
    assert pointer("too-much-is-quarantined") in shell("status", source / "out", status=0)
    shell("run", made(source, [custom(source, "return Result(batch)")]), status=0)
    return told


@provokes("too-much-is-quarantined", 1)
def test_a_corrupt_file(source, shell):
    (source / "in" / "b.parquet").write_bytes(b"PAR1 and no end")
    return shell("run", made(source))


@provokes("too-much-is-quarantined", 2)
def test_a_corrupt_file_that_may_not_be(source, shell):
    (source / "in" / "b.parquet").write_bytes(b"PAR1 and no end")
    return shell("run", made(source, execution={"on_error": "fail"}))


@provokes("too-much-is-quarantined", 3)
def test_only_corrupt_files(source, shell):
    (source / "in" / "a.parquet").write_bytes(b"PAR1 and no end")
    return shell("run", made(source))


@provokes("memory-runs-out", 0, 1)
def test_a_row_that_no_memory_holds(source, shell):
    """Found by halving; where it may be quarantined the run ends well."""
    body = HERE.format("if 'd7' in batch.column('id').to_pylist(): raise MemoryError('it is huge')")
    return shell("run", made(source, [custom(source, body)], execution={**SMALL, "max_quarantined_fraction": 0.1}), status=0)


@provokes("memory-runs-out", 2)
def test_a_row_that_no_memory_holds_and_that_may_not_be_lost(source, shell):
    body = HERE.format("if 'd7' in batch.column('id').to_pylist(): raise MemoryError('it is huge')")
    return shell("run", made(source, [custom(source, body)], execution={**SMALL, "on_error": "fail"}))


# --- disks

SMALL_DISKS = """
mount -t tmpfs -o size={out_size} tmpfs {out} || exit 77
mount -t tmpfs -o size=16k tmpfs {scratch} || exit 77
{python} -m pipelines.cli run {file} 2>&1
test $? = 1 || exit 78
"""


def on_small_disks(source, operators, out_size):
    """What a run says whose output, or whose operators' scratch, is on a disk that is full.

    That it ends well with more space is tested in test_rubbish_operators.py.
    """
    write_parquet(source / "in" / "a.parquet", documents(2000), 500, SCHEMA)
    for name in ("out", "scratch"):
        (source / name).mkdir()
    file = made(source, operators)
    words = {"python": sys.executable, "file": file, "out": source / "out", "scratch": source / "scratch", "out_size": out_size}
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISKS.format(**words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    except FileNotFoundError:
        pytest.skip("there is no `unshare` here to mount a small disk with")
    if (done.returncode == 1 and "unshare" in done.stderr) or done.returncode == 77:
        pytest.skip(f"no small disk may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done
    return done.stdout


@provokes("a-disk-is-full", 0)
def test_the_disk_of_the_output_is_full(source):
    return on_small_disks(source, STEPS, "32k")


@provokes("a-disk-is-full", 1)
def test_a_disk_of_a_worker_is_full(source):
    """No row is blamed for it: not one is quarantined."""
    body = HERE.format("pathlib.Path(__file__).with_name('scratch').joinpath('x').write_bytes(bytes(30_000))")
    told = on_small_disks(source, [custom(source, body)], "64m")
    assert "quarantined" not in told
    return told


# --- the Hub


@pytest.fixture
def output(versions, tmp_path):
    """A copy of a finished output."""
    return Path(shutil.copytree(versions[0], tmp_path / "output"))


@provokes("the-hub-says-429", 0, 1)
def test_a_hub_that_is_busy_for_good(quick_hub, output, shell, monkeypatch):
    monkeypatch.setattr("pipelines.publish_hub.MAX_WAITS", 2)
    with quick_hub.fail("status", status=429, retry_after=7, times=None):
        told = shell("publish", output, "--repo", REPO)
    shell("publish", output, "--repo", REPO, status=0)
    return told


@provokes("the-hub-says-429", 2)
def test_a_hub_that_is_busy_for_readers(quick_hub, output, shell):
    shell("publish", output, "--repo", REPO, status=0)
    with quick_hub.fail("status", status=429, times=None):
        return shell("verify", f"hf://datasets/{REPO}")


@provokes("credentials-are-refused", 2)
def test_a_token_that_the_hub_refuses(quick_hub, output, shell):
    with quick_hub.fail("status", status=401, times=None):
        return shell("publish", output, "--repo", REPO)


@provokes("credentials-are-refused", 3)
def test_a_reader_that_the_hub_refuses(quick_hub, shell):
    with quick_hub.fail("status", status=401, times=None):
        return shell("verify", f"hf://datasets/{REPO}")


# --- versions


@provokes("a-version-must-be-withdrawn", 0)
def test_an_older_version_is_not_published_over_a_newer_one(quick_hub, versions, shell):
    shell("publish", versions[1], "--repo", REPO, status=0)
    return shell("publish", versions[0], "--repo", REPO)


@provokes("a-version-must-be-withdrawn", 1)
def test_a_purged_version(output, shell, tmp_path):
    """A document is taken out and the older version removed: who asks for that one is told why."""
    shard = min((output / "data" / "v1").glob("*.parquet"))
    (tmp_path / "ids").write_text(pq.read_table(shard)["id"][0].as_py() + "\n")
    shell("takedown", output, "--ids", tmp_path / "ids", "--purge", status=0)
    shell("verify", output, status=0)
    return shell("report", output, "--version", "v1")


def test_a_bad_version_is_followed_by_the_good_one_again(source, shell):
    """The old pipeline file makes v3 with the documents of v1, as the entry says."""
    old, bad = STEPS, [{"type": "length_filter", "min_chars": 30}]
    for steps in (old, bad, old):
        shell("run", made(source, steps), status=0)
    told = shell("diff", f"{source / 'out'}@v1", f"{source / 'out'}@v3", "--json", status=0)
    first, third = (
        sorted(i for path in (source / "out" / "data" / name).rglob("*.parquet") for i in pq.read_table(path)["id"].to_pylist())
        for name in ("v1", "v3")
    )
    assert first == third
    assert told


@provokes("verify-fails", 0, 1)
def test_a_bit_that_rots(output, shell):
    """Found by verify; the file put back from a copy, it is satisfied, as the entry says."""
    shard = min((output / "data" / "v1").glob("*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 4]) + whole[41:])
    told = shell("verify", output, status=4)
    shard.write_bytes(whole)
    shell("verify", output, status=0)
    return told


def test_a_run_into_another_place_gives_the_same_files(source, shell):
    """From which a damaged shard can be put back, as the entry says."""
    file = made(source)
    shell("run", file, status=0)
    shell("run", file, "--set", f"output.uri={source / 'other'}", status=0)
    one, other = ({path.name: path.read_bytes() for path in (source / name / "data" / "v1").iterdir()} for name in ("out", "other"))
    assert one == other


@provokes("what-may-be-deleted", 0, leads=False)
def test_what_nothing_needs_is_removed(source, shell):
    """The command's help leads to the rest."""
    shell("run", made(source), status=0)
    assert runbook.DELETABLE in shell("gc", "--help", status=0)
    return shell("gc", source / "out", status=0)


# --- other runs


@provokes("another-run-holds-the-output", 0)
def test_a_run_beside_a_run(source, shell):
    with Lease(open_store(str(source / "out"))):
        told = shell("run", made(source))
        assert shell("gc", source / "out").count(pointer("another-run-holds-the-output")) == 1
    shell("run", made(source), status=0)
    return told


@provokes("another-run-holds-the-output", 1)
def test_two_runs_at_the_same_moment(source, shell, monkeypatch):
    """The other one takes the lease after this one has seen that it is free."""
    import pipelines.lease as module

    real = module.current

    def late(store, *words):
        found = real(store, *words)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "current", real)
            Lease(store).__enter__()._stop.set()
        monkeypatch.setattr(module, "current", real)
        return found

    monkeypatch.setattr(module, "current", late)
    return shell("run", made(source))


TAKE_OVER = """
from dataclasses import asdict
from pipelines.commit import sealed
from pipelines.lease import PATH, Holder
from pipelines.storage import open_store
if batch.num_rows:
    store = open_store({out!r})
    store.replace(PATH, sealed(asdict(Holder('1' * 16, 9, 'elsewhere', 'another', 7, '1'))), etag=store.info(PATH).etag)
return Result(batch)
"""


@provokes("another-run-holds-the-output", 2)
def test_a_run_that_was_taken_over(source, shell):
    return shell("run", made(source, [custom(source, TAKE_OVER.format(out=str(source / "out")))], execution={}))


@provokes("a-run-seems-stuck", 0)
def test_silence_is_told(source, shell, monkeypatch):
    """After five minutes; here after none."""
    monkeypatch.setattr(trouble, "SILENCE_SECONDS", 0.0)
    return shell("run", made(source), status=0)


@provokes("a-run-seems-stuck", 1, 2)
def test_no_node_has_what_a_task_asks_for(source, shell, monkeypatch):
    """As a Ray of small nodes says it; tests/test_ray_sessions.py has one."""
    monkeypatch.setattr("cluster.tasks.InlineExecutor.lacking", lambda self, needs: "CPU 64 (the most that a node has is 1)")
    monkeypatch.setattr("cluster.tasks.InlineExecutor.wait", lambda self, timeout_seconds: [])
    monkeypatch.setattr("pipelines.task_resources.LONG_SECONDS", 1e-9)
    monkeypatch.setattr("pipelines.task_resources.PATIENCE_SECONDS", 0.0)
    return shell("run", made(source))


def test_trouble_is_told_once_a_minute():
    """However many units fail; how many did is told with the next line."""
    lines, now = [], [0.0]
    told = trouble.Trouble(lines.append, clock=lambda: now[0])
    for moment in (0, 1, 2, 59, 61):
        now[0] = float(moment)
        told.retried("infrastructure", 1, 2.0, errors.Throttled("unit 1: slow"))
    assert len(lines) == 2
    assert "tried again in 2.0 s (1 of 19): unit 1: slow" in lines[0]
    assert "3 other failures of this kind" in lines[1]


def test_silence_is_told_again_after_twice_the_time():
    lines, now = [], [0.0]
    told = trouble.Trouble(lines.append, clock=lambda: now[0])
    told.working()
    for now[0] in (299.0, 301.0, 400.0, 601.0, 700.0):
        told.waiting(4)
    assert [line.split(";")[0] for line in lines] == ["nothing was committed for 5 min 01 s", "nothing was committed for 10 min 01 s"]
    told.working()
    told.waiting(4)
    assert len(lines) == 2


# --- credentials


@provokes("credentials-are-refused", 0)
def test_credentials_that_expire_under_a_run(source, shell, s3_server, fault_proxy):
    """The run ends with the first refusal, and goes on with new ones."""
    file = on_s3(source, s3_server, fault_proxy)
    fault_proxy.add("refuse", status=403, code="ExpiredToken", method="PUT", matching="/parts/")
    told = shell("run", file)
    assert len([target for method, target in fault_proxy.seen if method == "PUT" and "/parts/" in target]) == 1
    fault_proxy.clear()
    shell("run", file, status=0)
    return told


@provokes("credentials-are-refused", 1)
def test_no_credentials_at_all(source, shell, s3_server, fault_proxy, monkeypatch):
    file = on_s3(source, s3_server, fault_proxy)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return shell("run", file)


# --- what changes


@provokes("the-input-changed-under-a-run", 0)
def test_an_input_that_is_overwritten(source, shell):
    """The next run takes the new file."""
    path = source / "in" / "a.parquet"
    body = HERE.format(f"path = pathlib.Path({str(path)!r}); path.write_bytes(path.read_bytes() + b'x')")
    told = shell("run", made(source, [custom(source, body)]))
    write_parquet(path, documents(50), 10)
    shell("run", made(source, [custom(source, "return Result(batch)")]), status=0)
    return told


@provokes("the-code-changed-during-a-run", 0)
def test_a_worker_with_another_shardmill(source, shell, monkeypatch):
    monkeypatch.setattr(worker, "engine_facts", lambda: {"an": "older one"})
    worker._WORKERS.clear()
    return shell("run", made(source))


@provokes("the-code-changed-during-a-run", 1)
def test_an_operator_that_is_edited_under_a_run(source, shell):
    path = source / "mine.py"
    edit = HERE.format("p = pathlib.Path(__file__); p.write_text(p.read_text() + '# edited')")
    steps = [custom(source, edit), {"type": "exact_dedup"}, {"type": "mine:Mine", "name": "again"}]
    told = shell("run", made(source, steps))
    assert path.read_text().endswith("# edited")
    return told


@pytest.fixture
def later(monkeypatch):
    """Seconds by which the clock of schedules is ahead of half past one; it waits for nothing."""
    ahead = [0.0]
    monkeypatch.setattr(StoreClock, "now", lambda _clock: datetime(2030, 1, 1, 1, 30, tzinfo=UTC) + timedelta(seconds=ahead[0]))
    monkeypatch.setattr(StoreClock, "wait", lambda _clock, seconds: ahead.append(ahead.pop() + seconds))
    return ahead


def scheduled(source):
    """A pipeline file that ingests every hour."""
    return made_with(source, {"cron": "0 * * * *"}, section="schedule")


@provokes("ticks-were-missed", 0, leads=False)
def test_a_tick_that_fails(source, shell, later):
    """The message of its work leads to the entry of that; the next tick takes in what this one would have."""
    (source / "in" / "a.parquet").rename(source / "a.parquet")
    (source / "in" / "a.parquet").write_bytes(b"PAR1 and no end")
    shell("schedule", scheduled(source), "--once", status=3)
    later[0] += 3600
    told = shell("schedule", scheduled(source), "--once")
    assert pointer("too-much-is-quarantined") in told
    (source / "a.parquet").rename(source / "in" / "a.parquet")
    later[0] += 3600
    shell("schedule", scheduled(source), "--once", status=0)
    return told


@provokes("ticks-were-missed", 1, leads=False)
def test_no_tick_is_due(source, shell, later):
    """Which is no failure, and needs no help."""
    return shell("schedule", scheduled(source), "--once", status=3)


@provokes("ticks-were-missed", 2, 3)
def test_another_scheduler_is_at_work(source, shell, later):
    shell("schedule", scheduled(source), "--once", status=3)
    (folder,) = (source / "out" / "_shardmill" / "schedule").iterdir()
    with Lease(open_store(str(source / "out")), path=f"_shardmill/schedule/{folder.name}/lease.json"):
        return shell("schedule", scheduled(source), "--once", status=3)


@provokes("an-ingestion-takes-nothing-in", 0, leads=False)
def test_nothing_is_new(source, shell):
    """Which is no failure, and needs no help."""
    shell("ingest", made(source), status=0)
    return shell("ingest", made(source), status=3)


@provokes("an-ingestion-takes-nothing-in", 1, 2)
def test_files_that_were_taken_in_changed_and_vanished(source, shell):
    """One after the other; with the policy that the message names the ingestion goes on."""
    write_parquet(source / "in" / "b.parquet", documents(40, seed=1), 10)
    refusing = {"changed": "fail", "vanished": "fail"}
    shell("ingest", made_with(source, refusing), status=0)
    write_parquet(source / "in" / "b.parquet", documents(41, seed=1), 10)
    told = shell("ingest", made_with(source, refusing))
    (source / "in" / "b.parquet").unlink()
    told += shell("ingest", made_with(source, refusing))
    write_parquet(source / "in" / "c.parquet", documents(20, seed=2), 10)
    shell("ingest", made_with(source, {"vanished": "keep"}), status=0)
    return told


def made_with(source, settings, section="ingest"):
    """A pipeline file with one more section."""
    file = made(source)
    file.write_text(json.dumps({**json.loads(file.read_text()), section: settings}))
    return file


@provokes("an-ingestion-takes-nothing-in", 3)
def test_new_documents_that_would_not_fit(source, shell):
    shell("ingest", made(source), status=0)
    write_parquet(source / "in" / "c.parquet", documents(20, seed=2), 10)
    return shell("ingest", made(source, output={"partition_by": ["lang"]}))


@provokes("a-cluster-cannot-be-reached", 0)
def test_no_ray_is_there(source, shell):
    return shell("run", made(source, cluster={"type": "ray", "address": "127.0.0.1:9"}))


@provokes("a-cluster-cannot-be-reached", 1)
def test_no_dashboard_is_there(source, shell):
    return shell("submit", made(source), "--to", "ray", "--set", "submit.ray.address=http://127.0.0.1:9")


@provokes("a-cluster-cannot-be-reached", 2)
def test_no_kubernetes_is_there(source, shell, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    at = ["--set", "submit.kuberay.api_server=http://127.0.0.1:9", "--set", "submit.kuberay.image=i"]
    return shell("submit", made(source), "--to", "kuberay", *at)


@provokes("a-cluster-cannot-be-reached", 3)
def test_no_slurm_is_there(source, shell, monkeypatch):
    """Its command is there, and finds no server."""
    command = source / "bin" / "squeue"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho 'squeue: error: Unable to contact slurm controller (connect failure)' >&2; exit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    return shell("submit", made(source), "--to", "slurm")


# --- what is no fault of a row


@pytest.mark.parametrize("raised", ["OSError(28, 'No space left on device')", "OSError(24, 'Too many open files')"])
def test_no_row_is_quarantined_for_what_the_machine_lacks(source, shell, raised):
    """On another machine, or later, the same rows pass: even where everything may be quarantined, the run ends instead."""
    body = HERE.format(f"raise {raised}")
    shell("run", made(source, [custom(source, body)], execution={**SMALL, "on_error": "quarantine", "max_quarantined_fraction": 0.5}))
    assert "rows are quarantined" not in shell("status", source / "out", status=0)
