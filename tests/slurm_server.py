"""A real Slurm on this machine, one for the session: Debian's slurm-wlm with munge, its own folder and ports, two nodes of two CPUs.

Its processes stay in the foreground as our children, and are ended by their process ids.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
INSTALL = "apt-get install --no-install-recommends slurm-wlm slurm-client munge"
NODES = ("n1", "n2")
CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
PriorityType=priority/basic
KillWait=30
MinJobAge=300
ReturnToService=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class SlurmServer:
    """The session's Slurm; SLURM_CONF says where it is."""

    conf: Path

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, env=os.environ | {"SLURM_CONF": str(self.conf)}, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def cancel_all(self) -> None:
        """End every job and wait until nothing of them is there."""
        self.ask("scancel", "--quiet", f"--user={os.getuid()}")
        waited_for(lambda: not self.ask("squeue", "--noheader"), "the jobs have not ended")


def waited_for(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Return when the condition holds; other programs bring it about, which tell nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.1)


@pytest.fixture(scope="session")
def slurm_server() -> Iterator[SlurmServer]:
    """Slurm with two nodes, idle."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"Slurm is not installed ({', '.join(missing)}); {INSTALL}")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of our own needs root")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as name, ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)  # munge's socket is for everybody
        server = SlurmServer(_configure(folder))
        patch.setenv("SLURM_CONF", str(server.conf))
        patch.setenv("PATH", os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
        munge = [f"--{file}={folder}/munge.{'sock' if file == 'socket' else file}" for file in files]
        running.enter_context(_process(folder, "munged", "--foreground", "--force", *munge))
        waited_for((folder / "munge.sock").exists, "munged has not come up")
        running.enter_context(_process(folder, "slurmctld", "-D", "-f", str(server.conf)))
        for node in NODES:
            running.enter_context(_process(folder, "slurmd", "-D", "-f", str(server.conf), "-N", node))
        waited_for(lambda: _idle(server), f"Slurm has not come up: {_logs(folder)}", 30)
        yield server
        server.cancel_all()


def _configure(folder: Path) -> Path:
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    (folder / "munge.key-file").write_bytes(os.urandom(1024))
    (folder / "munge.key-file").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    lines = [f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=2 RealMemory=4000" for node in NODES]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, port=_free_port(), folder=folder) + "\n".join(lines) + "\n")
    return conf


@contextmanager
def _process(folder: Path, *command: str) -> Iterator[None]:
    with (folder / "said.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle(server: SlurmServer) -> bool:
    try:
        return server.ask("sinfo", "--noheader", "--format=%t %D").strip() == f"idle {len(NODES)}"
    except subprocess.CalledProcessError:  # it does not answer yet
        return False


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.log"))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
