"""Hundreds of kills at random moments: every output that is finished in the end is that of an undisturbed run.

`make chaos` runs it. SHARDMILL_CHAOS_SEED chooses other moments, SHARDMILL_CHAOS_KILLS their number, SHARDMILL_CHAOS_LOG the log's file.
"""

from __future__ import annotations

import os
import platform
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from pipelines_made import Child, Runs, assert_each_once, contents, operators, orphans, same, write_input, write_pipeline
from ray_servers import RayServer, children, command

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("SHARDMILL_CHAOS_SEED", "20261121"))
KILLS = int(os.environ.get("SHARDMILL_CHAOS_KILLS", "200"))
OPERATORS = [*operators()[:3], {"type": "minhash_dedup", "threshold": 0.3, "max_candidates": 2, "preset": "t50"}, *operators()[3:]]
"""Those of the small pipeline, and near-duplicates, whose exchange has the most steps."""
near_pipeline = partial(write_pipeline, operators=OPERATORS)
SHARES = {"local": 0.55, "s3": 0.25, "ray": 0.2}
"""Of the kills: into a local path, into an S3 server, and on Ray into a local path."""
ROWS = 5 * 240 + 120
COARSE = {"unit_bytes": "32KiB"}
"""Fewer requests where each one costs: the result is the same."""
MOMENTS = {
    "unit.begin": "an attempt works",
    "exchange.before-record": "an attempt works",
    "unit.parts-written": "parts are written, no record",
    "commit.before-record": "parts are written, no record",
    "commit.after-record": "the record is put",
    "unit.end": "the record is put",
    "pack.before-shard": "a shard is written",
    "pack.after-shard": "a shard has its name, no record",
}
PHASES = ("start", "stage 1 and its exchange", "stage 2", "packing", "tables and manifest", "swap", "gc")


@dataclass(frozen=True)
class Kill:
    """What was killed, when, and how far the driver was."""

    where: str
    target: str
    seconds: float
    phase: str
    point: str


@dataclass
class Log:
    """All kills of a session, and the outputs that were compared after them."""

    kills: list[Kill] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def note(self, where: str, target: str, child: Child, seconds: float) -> None:
        points = child.points()
        self.kills.append(Kill(where, target, seconds, phase_of(points), points[-1] if points else ""))

    def number(self, where: str) -> int:
        return sum(kill.where == where for kill in self.kills)

    def markdown(self) -> str:
        return "\n".join([*_head(self), *_table_of_phases(self), *_table_of_moments(self), *_list_of_kills(self)]) + "\n"


def phase_of(points: Sequence[str]) -> str:
    """How far a driver was that passed these points."""
    passed = Counter(points)
    if passed["version.swapped"]:
        return "gc"
    if passed["version.manifest-written"]:
        return "swap"
    if passed["run.packed"]:
        return "tables and manifest"
    if passed["version.claimed"] or passed["run.stage-done"] >= 2:
        return "packing"
    if passed["run.stage-done"]:
        return "stage 2"
    return "stage 1 and its exchange" if points else "start"


def _head(log: Log) -> Iterator[str]:
    yield from ("# Random kills", "")
    yield (
        "Written by `make chaos` (tests/test_chaos.py): `kill -9` of the process that runs a small pipeline, on Ray also of its workers, "
        "at random moments, and the run started again until it is finished. Then every file is compared with those of an undisturbed run "
        "without Ray; every document must be there once, and nothing may be left over, neither beside the output nor in `_shardmill/parts`."
    )
    yield ""
    machine = f"Python {platform.python_version()}, Ray {version('ray')}, pyarrow {version('pyarrow')}, {os.cpu_count()} cores"
    yield f"Seed {SEED}, {machine}. Result: **{len(log.kills)} kills, {log.compared.total()} outputs compared, no difference**."
    yield ""
    yield from ("| where | kills of the driver | kills of workers | outputs finished and compared | seconds |", "|---|--:|--:|--:|--:|")
    for where in SHARES:
        targets = Counter(kill.target for kill in log.kills if kill.where == where)
        yield f"| {where} | {targets['driver']} | {targets['worker']} | {log.compared[where]} | {log.seconds[where]} |"


def _table_of_phases(log: Log) -> Iterator[str]:
    yield from ("", "How far the driver was:", "", f"| where | {' | '.join(PHASES)} |", f"|---|{'--:|' * len(PHASES)}")
    for where in SHARES:
        found = Counter(kill.phase for kill in log.kills if kill.where == where)
        yield f"| {where} | {' | '.join(str(found[phase]) for phase in PHASES)} |"


def _table_of_moments(log: Log) -> Iterator[str]:
    yield from ("", "What the process was about, where driver and worker are one:", "", "| moment | kills |", "|---|--:|")
    found = Counter(MOMENTS.get(kill.point, "between the attempts") for kill in log.kills if kill.where != "ray")
    yield from (f"| {moment} | {number} |" for moment, number in found.most_common())


def _list_of_kills(log: Log) -> Iterator[str]:
    yield from ("", "Every kill, in order: seconds since the start of its run, and the last fault point that the driver had passed.", "")
    yield from ("| | where | killed | after s | phase | last point |", "|--:|---|---|--:|---|---|")
    for number, kill in enumerate(log.kills, 1):
        yield f"| {number} | {kill.where} | {kill.target} | {kill.seconds:.2f} | {kill.phase} | {kill.point} |"


# --- a life of an output: killed until it is finished


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    """The session's log; written to a file if one was asked for and everything is as it should be."""
    made = Log()
    yield made
    target = os.environ.get("SHARDMILL_CHAOS_LOG")
    if target is not None and set(made.compared) == set(SHARES):
        Path(target).write_text(made.markdown())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_input(tmp_path_factory.mktemp("input") / "input", rows=240, files=5)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    """The files of a run that nothing happens to, and how many points it passes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(near_pipeline(folder, source, str(folder / "out")), folder / "runs")
    child = runs.run()
    assert_each_once(runs.store(), rows=ROWS)
    return contents(runs.store()), len(child.points())


def waits(draw: random.Random, seconds: float, points: int) -> Callable[[Child, float], bool]:
    """Whether the moment of a kill has come: two of three are chosen by time, one by progress, which the quick phases would else escape."""
    if draw.random() < 2 / 3:
        after = draw.uniform(0, seconds)
        return lambda _, now: now >= after
    passed = draw.randrange(1, points)
    return lambda child, _: len(child.points()) >= passed


def killed(child: Child, is_time: Callable[[Child, float], bool]) -> float | None:
    """Kill a run when it is time; None if it ended before. Returns after how many seconds."""
    begun = time.monotonic()
    while child.process.exitcode is None:
        now = time.monotonic() - begun
        if is_time(child, now):
            os.kill(child.pid, signal.SIGKILL)
            return now if child.wait() == -signal.SIGKILL else None
        child.process.join(0.001)
    return None


def assert_finished(runs: Runs, child: Child, undisturbed: dict[str, bytes]) -> None:
    assert child.wait() == 0, (SEED, child.answered())
    assert same(contents(runs.store()), undisturbed) == [], SEED
    # A probe of the check before the start is swept when it is a day old: a younger one may be at work.
    assert [path for path in orphans(runs.store()) if not path.startswith("_shardmill/probe/")] == [], SEED
    assert_each_once(runs.store(), rows=ROWS)


def live(where: str, runs: Runs, draw: random.Random, log: Log, undisturbed: tuple[dict[str, bytes], int], seconds: float) -> None:
    """Start and kill runs of one output until one comes to its end."""
    while True:
        child = runs.start()
        after = killed(child, waits(draw, seconds, undisturbed[1]))
        if after is None:
            assert_finished(runs, child, undisturbed[0])
            log.compared[where] += 1
            return
        log.note(where, "driver", child, after)


def undisturbed_seconds(runs: Runs) -> float:
    begun = time.monotonic()
    runs.finish()
    return time.monotonic() - begun


def test_random_kills_with_a_local_path(source, undisturbed, log, tmp_path):
    """The driver, which here does the work itself, is killed at random moments; the files are on a disk."""
    draw = random.Random(f"{SEED} local")
    print(f"chaos: seed {SEED}")
    begun = time.monotonic()
    seconds = undisturbed_seconds(Runs(near_pipeline(tmp_path / "timed", source, str(tmp_path / "timed-out")), tmp_path / "timed-runs"))
    for life in range(KILLS):
        folder = tmp_path / str(life)
        live("local", Runs(near_pipeline(folder, source, str(folder / "out")), folder / "runs"), draw, log, undisturbed, seconds)
        if log.number("local") >= KILLS * SHARES["local"]:
            break
    log.seconds["local"] = round(time.monotonic() - begun)


def test_random_kills_with_s3(source, undisturbed, log, tmp_path, s3_server):
    """The same on an S3 server."""
    draw = random.Random(f"{SEED} s3")
    begun = time.monotonic()

    def made(folder: Path) -> Runs:
        output = {"storage_options": {"endpoint_url": s3_server.endpoint}}
        return Runs(
            near_pipeline(folder, source, f"s3://{s3_server.make_bucket()}/clean", output=output, execution=COARSE), folder / "runs"
        )

    seconds = undisturbed_seconds(made(tmp_path / "timed"))
    for life in range(KILLS):
        live("s3", made(tmp_path / str(life)), draw, log, undisturbed, seconds)
        if log.number("s3") >= KILLS * SHARES["s3"]:
            break
    log.seconds["s3"] = round(time.monotonic() - begun)


@pytest.mark.ray
def test_random_kills_on_ray(source, undisturbed, log, tmp_path, ray_cluster):
    """On Ray the driver is killed at random moments, and while it lives its workers are, one after the other."""
    draw = random.Random(f"{SEED} ray")
    begun = time.monotonic()

    def made(folder: Path) -> Runs:
        return Runs(near_pipeline(folder, source, str(folder / "out"), cluster=ray_cluster.settings), folder / "runs")

    seconds = undisturbed_seconds(made(tmp_path / "timed"))
    for life in range(KILLS):
        runs = made(tmp_path / str(life))
        hunter = random.Random(f"{SEED} workers {life}")
        for _ in range(draw.randrange(1, 4)):
            child = runs.start()
            with hunted(ray_cluster, child, seconds, hunter, log):
                after = killed(child, waits(draw, seconds, 12))
            if after is None:
                break
            log.note("ray", "driver", child, after)
        else:
            child = runs.start()
        assert_finished(runs, child, undisturbed[0])
        log.compared["ray"] += 1
        if log.number("ray") >= KILLS * SHARES["ray"]:
            break
    log.seconds["ray"] = round(time.monotonic() - begun)


@contextmanager
def hunted(server: RayServer, child: Child, seconds: float, draw: random.Random, log: Log) -> Iterator[None]:
    """For the time of the block a thread kills one or two workers of a Ray, at random moments of the child's run."""
    over = threading.Event()
    moments = sorted(draw.uniform(0.3, 1.0) * seconds for _ in range(draw.randrange(1, 3)))

    def hunt() -> None:
        begun = time.monotonic()
        for moment in moments:
            if over.wait(max(0.0, begun + moment - time.monotonic())):
                return
            if kill_one(server, draw):
                log.note("ray", "worker", child, time.monotonic() - begun)

    thread = threading.Thread(target=hunt, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def kill_one(server: RayServer, draw: random.Random) -> bool:
    """Kill a worker that is at a task of ours; there may be none yet, or no longer."""
    found = [pid for pid in children(server.head.raylet) if command(pid).startswith("ray::_call")]
    if not found:
        return False
    try:
        os.kill(draw.choice(found), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
