"""What units cost beside their work: time, files and the driver's memory for 100,000 of next to none, and how soon a killed run goes on.

    python benchmarks/bench_overhead.py                                   # 2,000 units
    python benchmarks/bench_overhead.py --units 100000                    # 5 minutes, 1 GiB, 20 s are the bounds
    python benchmarks/bench_overhead.py --units 100000 --folder /dev/shm  # the disk left out

Four documents a row group, a row group a unit, a thousand units a file, no operator. `shardmill run` goes through them undisturbed. Then a
second output: its driver is killed (-9) at half of the units, and when its workers are gone `shardmill status` and `shardmill plan` tell
what is left, and the run is started again. The times are those of the whole commands, the start of Python and of Ray among them. Peaks are
VmHWM of the processes, CPU that of the driver's process alone. Both outputs must have the same files with the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

ROOT: Final = Path(__file__).resolve().parents[1]
FILE_UNITS: Final = 1000
UNIT_ROWS: Final = 4
BOUNDS: Final = {"wall_seconds": 300, "driver_peak_bytes": 1 << 30, "driver_ms_per_unit": 1.0, "restart_seconds": 20}
"""Of 100,000 units; the milliseconds are of any number."""
SAMPLE_SECONDS: Final = 0.5
POLL_SECONDS: Final = 0.05
GONE_SECONDS: Final = 20.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
PIPELINE: Final = """
name: overhead
input: {{uri: {folder}/input/}}
output: {{uri: {output}}}
execution: {{unit_bytes: 1KiB, batch_bytes: 1KiB}}
cluster: {cluster}
"""


def make_input(folder: Path, units: int) -> None:
    """Files of a thousand row groups of four documents, each above `unit_bytes`."""
    folder.mkdir()
    for number, start in enumerate(range(0, units, FILE_UNITS)):
        rows = range(start * UNIT_ROWS, min(start + FILE_UNITS, units) * UNIT_ROWS)
        texts = [f"Document {row:07d}. {'It has nothing to say. ' * 12}" for row in rows]
        table = pa.table({"id": [f"{row:07d}" for row in rows], "text": texts})
        pq.write_table(table, folder / f"{number:05d}.parquet", row_group_size=UNIT_ROWS)


def write_pipeline(folder: Path, name: str, cluster: str) -> tuple[Path, Path]:
    """The pipeline's file and its output."""
    cluster_section = "{type: inline}" if cluster == "inline" else "{type: local, num_cpus: 2}"
    file = folder / f"{name}.yaml"
    file.write_text(PIPELINE.format(folder=folder, output=folder / name, cluster=cluster_section))
    return file, folder / name


# --- processes, as the kernel tells of them


def peak_bytes(pid: int) -> int:
    """VmHWM of a process; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def cpu_seconds(pid: int) -> float:
    """CPU that a process used, without its children's."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def descendants(pid: int) -> dict[int, str]:
    """Every process below one, with when it started, so that a number used again is another process."""
    found = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    below = {pid}
    while more := {one for one, fields in found.items() if fields and int(fields[1]) in below} - below:
        below |= more
    return {one: found[one][19] for one in below - {pid}}


@dataclass
class Command:
    """A `shardmill` command in a process of its own, with what it used."""

    arguments: Sequence[str]
    begun: float = field(default_factory=time.perf_counter)
    driver_peak_bytes: int = 0
    worker_peak_bytes: int = 0
    driver_cpu_seconds: float = 0.0
    below: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pipelines.cli", *self.arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.is_set():
            pid = self.process.pid
            self.driver_peak_bytes = max(self.driver_peak_bytes, peak_bytes(pid))
            self.driver_cpu_seconds = max(self.driver_cpu_seconds, cpu_seconds(pid))
            self.below |= (below := descendants(pid))
            self.worker_peak_bytes = max([self.worker_peak_bytes, *(peak_bytes(one) for one in below if _is_worker(one))])
            self._ended.wait(SAMPLE_SECONDS)

    def ended(self) -> float:
        """Wait for its end; returns its seconds. One that fails ends the benchmark."""
        told, problems = self.process.communicate()
        seconds = time.perf_counter() - self.begun
        self._stop()
        if self.process.returncode:
            raise SystemExit(f"shardmill {' '.join(self.arguments)} failed:\n{told}{problems}")
        return seconds

    def kill(self) -> None:
        """Kill it, and see to it that the processes that it had started are gone: its workers notice, Ray's own may take minutes."""
        self.below |= descendants(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self._stop()
        limit = time.monotonic() + GONE_SECONDS
        while (left := self._left()) and (any(map(_is_worker, left)) or time.monotonic() < limit):
            if time.monotonic() > limit:
                raise SystemExit(f"the workers among {left} outlived the driver by {GONE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    def _left(self) -> list[int]:
        """Processes that it had started and that are still there."""
        return [pid for pid, started in self.below.items() if (fields := _stat(pid)) and fields[0] != "Z" and fields[19] == started]

    def _stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def used(self) -> dict[str, Any]:
        """What the driver and its workers used."""
        return {"driver_peak_bytes": self.driver_peak_bytes, "worker_peak_bytes": self.worker_peak_bytes}


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return command.startswith(b"ray::") and b"Agent" not in command


# --- outputs, as they lie on the disk


def record_folders(output: Path) -> list[Path]:
    """The folders of commit records of the first stage, which has all units; none before the first commit."""
    return list(output.glob("_shardmill/stages/*/e0/records/*")) if not (output / "manifest.json").exists() else []


def num_records(output: Path) -> int:
    """Units that are committed, while only units can be."""
    return sum(1 for folder in record_folders(output) for _ in os.scandir(folder))


def last_commit(output: Path) -> tuple[int, ...]:
    """Changes with every commit, and costs no more when there are many."""
    return tuple(folder.stat().st_mtime_ns for folder in sorted(record_folders(output)))


def num_files(output: Path) -> int:
    """Files of an output, those of the engine among them."""
    return sum(len(files) for _, _, files in os.walk(output))


def contents(output: Path) -> dict[str, str]:
    """Digest of every file of the version but the manifest and the report, which tell the time."""
    files = [*output.glob("data/**/*.parquet"), *output.glob("versions/v1/**/*.parquet")]
    return {str(file.relative_to(output)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# --- the measurements


def undisturbed(folder: Path, units: int, cluster: str) -> tuple[dict[str, Any], Path]:
    """A run from its start to its end."""
    file, output = write_pipeline(folder, "undisturbed", cluster)
    command = Command(["run", str(file), "--quiet"])
    seconds = command.ended()
    cpu = command.driver_cpu_seconds
    told = {"wall_seconds": round(seconds, 1), "driver_cpu_seconds": round(cpu, 1), "driver_ms_per_unit": round(cpu / units * 1000, 3)}
    return {**told, **command.used(), "files_left": num_files(output)}, output


def interrupted(folder: Path, units: int, cluster: str) -> tuple[dict[str, Any], Path]:
    """A run whose driver is killed at half of its units, what the commands tell then, and the run that goes on from there."""
    file, output = write_pipeline(folder, "interrupted", cluster)
    first = Command(["run", str(file), "--quiet"])
    while (done := num_records(output)) < units // 2:
        if first.process.poll() is not None:
            first.ended()
            raise SystemExit(f"the run was over before it could be killed: {units} units are too few")
        time.sleep(POLL_SECONDS + done / 200_000)  # the more there are, the more it costs to count them
    first.kill()
    found: dict[str, Any] = {"units_before": num_records(output), "files_then": num_files(output)}
    found["status_seconds"] = round(Command(["status", str(output), "--json"]).ended(), 1)
    found["plan_seconds"] = round(Command(["plan", str(file), "--json"]).ended(), 1)
    before = last_commit(output)
    second = Command(["run", str(file), "--quiet"])
    while last_commit(output) == before and second.process.poll() is None:
        time.sleep(POLL_SECONDS)
    found["restart_seconds"] = round(time.perf_counter() - second.begun, 1)
    found["wall_seconds"] = round(second.ended(), 1)
    return {**found, **second.used()}, output


def measure(folder: Path, units: int, cluster: str) -> dict[str, Any]:
    """Both runs, and whether they left the same."""
    make_input(folder / "input", units)
    whole, first = undisturbed(folder, units, cluster)
    print(json.dumps(whole), file=sys.stderr, flush=True)
    again, second = interrupted(folder, units, cluster)
    same = contents(first) == contents(second) and bool(contents(first))
    return {"units": units, "cluster": cluster, "undisturbed": whole, "interrupted": again, "same": same, "bounds": BOUNDS}


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """What was measured beside its bounds, for the docs."""
    whole, again = result["undisturbed"], result["interrupted"]
    yield f"| {result['units']:,} units | undisturbed | killed at half | bound at 100,000 |"
    yield "|---|---:|---:|---:|"
    yield f"| wall s | {whole['wall_seconds']} | {again['wall_seconds']} | {BOUNDS['wall_seconds']} |"
    yield f"| driver, CPU ms a unit | {whole['driver_ms_per_unit']} |  | {BOUNDS['driver_ms_per_unit']} |"
    for name, bound in (("driver", f"{BOUNDS['driver_peak_bytes'] / 1e6:,.0f}"), ("worker", "")):
        peaks = [one[f"{name}_peak_bytes"] / 1e6 for one in (whole, again)]
        yield f"| {name}, peak MB | {peaks[0]:,.0f} | {peaks[1]:,.0f} | {bound} |"
    yield f"| s to the first commit after the restart |  | {again['restart_seconds']} | {BOUNDS['restart_seconds']} |"
    yield f"| s of `status`, s of `plan`, at half |  | {again['status_seconds']}, {again['plan_seconds']} |  |"
    yield f"| files at half, files left |  {again['files_then']:,} | {whole['files_left']:,} |  |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--cluster", choices=["local", "inline"], default="local", help="inline: no Ray, all in the driver's process")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "overhead.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), options.units, options.cluster)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(table(result)))
    if not result["same"]:
        raise SystemExit("the run that was killed and went on left other files than the undisturbed one")


if __name__ == "__main__":
    main()
