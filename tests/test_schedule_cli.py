"""`shardmill schedule` as a command: what it prints and refuses, and its processes at work, several at once and killed in the middle."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.dataset as pads
import pytest

from pipelines.cli import main
from pipelines.commit import unsealed
from pipelines.config import load
from pipelines.crontab import crontab, portable
from pipelines.errors import ConfigError
from pipelines.storage import open_store
from pipelines.tick_log import TickLog
from pipelines.ticks import Schedule

ROOT = Path(__file__).parent.parent
DOCUMENTS = 40


@pytest.fixture
def file(tmp_path):
    """A pipeline over two files, with a tick every minute."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        rows = [{"id": f"{number}-{row}", "text": f"document {row} of file {number}"} for row in range(DOCUMENTS // 2)]
        (tmp_path / "in" / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "p.yaml"
    path.write_text(
        f"name: small\ninput: {{uri: {tmp_path}/in/*.jsonl}}\noutput: {{uri: {tmp_path}/out}}\ncluster: {{type: inline}}\n"
        'schedule: {cron: "* * * * *", timezone: Europe/Berlin}\n'
    )
    return path


# --- what is asked without any work


def test_the_next_ticks_are_told_in_both_zones(file, capsys):
    """A line each, with the id of its work; as JSON too, and nothing is written."""
    assert main(["schedule", str(file), "--next", "3", "--set", "schedule.cron=0 3 * * *"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["Europe/Berlin", "UTC", "id"]
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\d 03:00 CES?T +\w{3} +\d{4}-\d\d-\d\d 0[12]:00 UTC +small-\d{8}t0[12]00z-\w{8}", line)
        for line in lines
    )
    assert main(["schedule", str(file), "--next", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cron"], told["timezone"], told["catch_up"], len(told["ticks"])) == ("* * * * *", "Europe/Berlin", "last", 2)
    assert not (file.parent / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "schedule=null"], "the key 'schedule' is missing (when `schedule` ingests); write, for example, `schedule: {cron:"),
        (["--once", "--crontab"], "--once, --next and --crontab are three different things; give one of them"),
        (["--json"], "--json prints one object; it goes with --once or --next"),
        (["--set", "schedule.cron='@daily'"], "schedule.cron: '@daily' is no line of five fields; write '0 0 * * *', which is the same"),
        (["--set", "schedule.cron=0 24 * * *"], "schedule.cron: hour '24' is none; expected 0 to 23;"),
        (["--set", "schedule.cron=0 3 * *"], "schedule.cron: '0 3 * *' has 4 fields; expected five: minute, hour,"),
        (["--set", "schedule.cron='*/90 * * * *'"], "schedule.cron: minute '*/90' has a step of 90, expected 1 to 59"),
        (["--set", "schedule.cron=0 22-2 * * *"], "schedule.cron: hour '22-2' runs backwards; write '22-23,0-2'"),
        (["--set", "schedule.cron=0 0 L * *"], "schedule.cron: day of month 'L' is not of cron; for the last days name all"),
        (["--set", "schedule.cron=0 0 31 2,4 *"], "schedule.cron: '0 0 31 2,4 *' never comes"),
        (["--set", "schedule.timezone=berlin"], "schedule.timezone: there is no time zone 'berlin'; did you mean 'Europe/Berlin'?"),
        (["--set", "schedule.timezone=CEST"], "schedule.timezone: there is no time zone 'CEST'; an offset, or a short name of one,"),
        (["--set", "schedule.timezone=localtime"], "schedule.timezone: there is no time zone 'localtime'; expected a name of the IANA"),
        (["--set", "schedule.timezone=../x"], "schedule.timezone: there is no time zone '../x'; expected a name of the IANA"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_a_remedy(file, capsys, words, message):
    """Before any work, with the place and what to write instead."""
    assert main(["schedule", str(file), *words]) == 2
    assert message in capsys.readouterr().err


def test_time_zones_are_there_on_a_machine_without_any():
    """The package tzdata has them where the system has none, as in a slim image."""
    code = "from pipelines.settings_schedule import timezone_problem as problem; print(problem('Europe/Berlin'), problem('Berln'))"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONTZPATH": ""}, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "None there is no time zone 'Berln'; did you mean 'Europe/Berlin'?\n", done.stderr


# --- crontab


def command_of(line):
    """What a shell gets of a line of a crontab: after five fields, up to a `%`, unless that is escaped."""
    command, _, rest = re.sub(r"\\%", "\0", line.split(maxsplit=5)[5]).partition("%")
    assert not rest
    return command.replace("\0", "%")


@pytest.mark.parametrize("name", ["plain", "50% of it's", 'a "b" $HOME `x`', "Wörter;&|*"])
def test_a_line_of_a_crontab_calls_the_same_command_from_anywhere(name):
    """Whatever is in a path or a setting: absolute, quoted for the shell, percent signs escaped."""
    file, folder = Path("/pipelines") / name / "p.yaml", Path("/work") / name
    lines = crontab(Schedule("5/15 3 * * *", "Europe/Berlin"), file, [f"name={name}"], folder)
    assert lines[1] == "CRON_TZ=Europe/Berlin"
    assert lines[2].startswith("5-59/15 3 * * * ")
    words = shlex.split(command_of(lines[2]))
    assert words[:3] == ["cd", str(folder), "&&"]
    log = str(file.with_suffix(".schedule.log"))
    assert words[words.index("schedule") :] == ["schedule", str(file), "--once", "--set", f"name={name}", ">>", log, "2>&1"]
    assert Path(words[3]).is_absolute()
    assert lines[4] == f"# */5 * * * * {lines[2].split(maxsplit=5)[5]}"


def test_a_line_break_cannot_be_in_a_crontab():
    """It would be another line."""
    with pytest.raises(ConfigError, match="has a line break, which a crontab cannot hold"):
        crontab(Schedule("0 3 * * *"), Path("/a\nb/p.yaml"), [], Path("/"))


def test_fields_are_written_so_that_every_cron_knows_them():
    """A step after one number is cronsim's word for a range to the end."""
    assert portable("5/15 */2 1-10/3 2/4,7 1/2") == "5-59/15 */2 1-10/3 2-12/4,7 1-7/2"


# --- processes


@contextmanager
def start(file, *words, fault="", **environment):
    """The command in a process of its own; what it says comes line by line. In the end it is gone, whatever the test found."""
    passed = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SHARDMILL_FAULT": fault}
    command = [sys.executable, "-m", "pipelines.cli", words[0], str(file), *words[1:]]
    settings = {**passed, **environment}
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_with(process, text):
    """The next line that holds a text; the process must say one."""
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} was not said: {''.join(said)}")


def log_of(file, *overrides):
    config = load(file, overrides)
    schedule = Schedule(config.schedule.cron, config.schedule.timezone)
    return TickLog(open_store(config.output.uri, config.output.storage_options), config.name, schedule)


def records(log):
    return [unsealed(log.store.read(info.path)) for info in log.store.list(f"{log.folder}/ticks")]


def check_one_version(file):
    """One version, with each document once."""
    out = file.parent / "out"
    assert [path.name for path in (out / "versions").iterdir()] == ["v1"]
    assert sorted(pads.dataset(out / "data" / "v1").to_table().column("id").to_pylist()) == sorted(
        f"{number}-{row}" for number in range(2) for row in range(DOCUMENTS // 2)
    )


TICK = datetime.now(UTC) - timedelta(minutes=30)
YEARLY = ("--set", f"schedule.cron={TICK:%M %H %d %m} *", "--set", "schedule.timezone=UTC")
"""One tick, half an hour ago, and none until next year: whenever a test looks."""


def due_now(file, *overrides):
    """The log of a schedule whose tick is still to be done."""
    log = log_of(file, *YEARLY[1::2], *overrides)
    log.open(TICK - timedelta(minutes=1))
    return log


def test_two_schedulers_and_an_ingestion_by_hand_at_the_same_second_do_the_work_once(file):
    """One of the three takes the files in; the tick has one record; who comes too late says so."""
    log = due_now(file)
    with ExitStack() as stack:
        ticking = [stack.enter_context(start(file, "schedule", "--once", *YEARLY)) for _ in range(2)]
        by_hand = stack.enter_context(start(file, "ingest"))
        said = [process.communicate()[0] for process in (*ticking, by_hand)]
    codes = sorted(process.returncode for process in ticking)
    check_one_version(file)
    (record,) = records(log)
    assert record["version"] == "v1"
    if record["outcome"] == "version":
        assert (codes, by_hand.returncode in (1, 3)) == ([0, 3], True), said
    else:
        assert (codes, by_hand.returncode) == ([3, 3], 0), said


@pytest.mark.chaos
def test_two_schedulers_share_an_output_on_s3(file, s3_server):
    """The same on an object store."""
    bucket = s3_server.make_bucket()
    overrides = [f"output.uri=s3://{bucket}/out", f"output.storage_options.endpoint_url={s3_server.endpoint}"]
    log = due_now(file, *overrides)
    words = [word for one in overrides for word in ("--set", one)]
    with ExitStack() as stack:
        both = [stack.enter_context(start(file, "schedule", "--once", *YEARLY, *words)) for _ in range(2)]
        said = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 3], said
    assert [record["outcome"] for record in records(log)] == ["version"]


def test_a_scheduler_that_is_killed_in_the_middle_of_a_tick_is_followed_by_the_one_that_stands_by(file, tmp_path):
    """It does the tick, once; a signal ends it with 130, and it gives back its lease."""
    log, often = due_now(file), {"SHARDMILL_LEASE_SECONDS": "15"}  # the one that stands by looks every five seconds
    with start(file, "schedule", *YEARLY, fault=f"unit.begin=wait:{tmp_path}/never", **often) as first:
        line_with(first, "stage 1 of 1")
        with start(file, "schedule", *YEARLY, **often) as second:
            assert f"another scheduler (process {first.pid} on " in line_with(second, "stands by")
            first.kill()
            assert "v1: 40 documents in 1 shard" in line_with(second, "v1:")
            line_with(second, "next: ")
            second.send_signal(signal.SIGTERM)
            said = second.communicate()[0]
        first.communicate()
    assert second.returncode == 130, said
    check_one_version(file)
    (record,) = records(log)
    assert record["by"].endswith(f":{second.pid}")
    assert unsealed(log.store.read(log.lease_path))["released"]


def test_an_interrupt_in_the_middle_of_an_ingestion_ends_it_and_the_next_start_goes_on(file, tmp_path):
    """SIGTERM: status 130, both leases given back; what was begun is owed and done first."""
    log = due_now(file)
    with start(file, "schedule", *YEARLY, fault=f"unit.begin=wait:{tmp_path}/never") as process:
        line_with(process, "stage 1 of 1")
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    for path in (log.lease_path, "_shardmill/lease.json"):
        assert unsealed(log.store.read(path))["released"]
    assert records(log) == []
    assert main(["schedule", str(file), "--once", "--quiet", *YEARLY, "--set", "schedule.catch_up=skip"]) == 0
    check_one_version(file)
    assert [record["outcome"] for record in records(log)] == ["version"]


def test_a_kill_between_the_work_and_its_record_does_no_work_twice(file):
    """Cron calls it by its line: the tick is owed, and there is nothing new."""
    log = due_now(file)
    with start(file, "schedule", "--once", *YEARLY, fault="schedule.acted=kill") as killed:
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert records(log) == []
    line = crontab(log.schedule, file, YEARLY[1::2], file.parent)[2]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(file.parent), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["/bin/sh", "-c", command_of(line)], env=environment, cwd="/")
    assert done.returncode == 3
    assert "nothing new since v1" in (file.parent / "p.schedule.log").read_text()
    check_one_version(file)
    assert [(record["outcome"], record["version"]) for record in records(log)] == [("nothing_new", "v1")]
