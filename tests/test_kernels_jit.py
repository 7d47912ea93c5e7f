"""Compiled kernels: once a node for any number of processes, and never old code for changed sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INNER = """
from operators.kernels.jit import kernel

@kernel
def inner(x):
    return x + {number}
"""
OUTER = """
from operators.kernels.inner import inner
from operators.kernels.jit import kernel

@kernel
def outer(x):
    return inner(x) * 2
"""
CALL = """
import sys
from operators.kernels.outer import outer
print(outer(1), outer._cache_hits, flush=True)
"""
BROKEN = """
from operators.kernels.jit import kernel

@kernel
def broken(x):
    return x.no_such_attribute
"""
CALL_BROKEN = """
import os
import subprocess
import sys
from operators.kernels.broken import broken

def name():
    try:
        broken(1)
    except Exception as error:
        return type(error).__name__

print(name(), name(), flush=True)
if len(sys.argv) == 1:
    print(subprocess.run([sys.executable, __file__, "again"], timeout=30, check=False).returncode)
"""

# LLVM calls back when it has made the code: a signal that came while it worked is handled there.
CALL_INTERRUPTED = """
import os
import signal
import sys
from numba.core.codegen import CPUCodeLibrary

compiled = CPUCodeLibrary._object_compiled_hook.__func__
arriving = [getattr(signal, sys.argv[1])]

def interrupted(cls, module, buffer):
    while arriving:
        os.kill(os.getpid(), arriving.pop())
    compiled(cls, module, buffer)

def ended(number, frame):
    raise SystemExit("terminated")

CPUCodeLibrary._object_compiled_hook = classmethod(interrupted)
from operators.kernels.outer import outer
signal.signal(signal.SIGTERM, ended)
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
try:
    outer(1)
except (KeyboardInterrupt, SystemExit) as error:
    print(type(error).__name__)
print(outer(1), before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], flush=True)
"""
CALL_IN_THREAD = """
import signal
import threading
from operators.kernels.outer import outer
before = signal.getsignal(signal.SIGINT)
thread = threading.Thread(target=lambda: print(outer(1)))
thread.start()
thread.join()
print(signal.getsignal(signal.SIGINT) is before)
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what the decorator needs, with two kernels of which one calls the other."""
    kernels = tmp_path / "checkout" / "operators" / "kernels"
    kernels.mkdir(parents=True)
    (kernels.parent / "__init__.py").write_text("")
    (kernels / "__init__.py").write_text("")
    shutil.copy(ROOT / "operators" / "sources.py", kernels.parent)
    for name in ("interrupts.py", "jit.py", "unused.py"):
        shutil.copy(ROOT / "operators" / "kernels" / name, kernels)
    (kernels / "inner.py").write_text(INNER.format(number=1))
    (kernels / "outer.py").write_text(OUTER)
    return tmp_path / "checkout"


def started(checkout: Path, cache: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(checkout), "SHARDMILL_CACHE_DIR": str(cache)}
    return subprocess.Popen([sys.executable, "-c", CALL], env=env, cwd=checkout, stdout=subprocess.PIPE, text=True)


def called(checkout: Path, cache: Path) -> list[str]:
    process = started(checkout, cache)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split(" ", 1)


def codes(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}


def test_a_changed_function_that_a_kernel_calls_is_seen(checkout, tmp_path):
    """The code of a kernel is filed under everything that it leads to, not under its own file alone."""
    cache = tmp_path / "cache"
    assert called(checkout, cache)[0] == "4"
    (checkout / "operators" / "kernels" / "inner.py").write_text(INNER.format(number=10))
    assert called(checkout, cache)[0] == "22"


def test_a_copy_of_the_checkout_finds_the_code(checkout, tmp_path):
    """Where the sources lie does not count: Ray puts them elsewhere for each job."""
    cache = tmp_path / "cache"
    called(checkout, cache)
    before = codes(cache)
    shutil.copytree(checkout, tmp_path / "elsewhere")
    result, hits = called(tmp_path / "elsewhere", cache)
    assert result == "4"
    assert "1" in hits
    assert codes(cache) == before


def test_code_that_nothing_uses_goes_when_other_code_is_kept(checkout, tmp_path):
    """What earlier sources left behind goes with the next compilation, after it was long unused; loading alone removes nothing."""
    cache = tmp_path / "cache"
    called(checkout, cache)
    before = codes(cache)
    for path in cache.rglob("*.nbc"):
        os.utime(path, (0, 0))
    (checkout / "operators" / "kernels" / "inner.py").write_text(INNER.format(number=10))
    assert called(checkout, cache)[0] == "22"
    after = codes(cache)
    assert len(after) == len(before) == 2
    assert all(after.values())
    for path in cache.rglob("*.nbc"):
        os.utime(path, (0, 0))
    assert called(checkout, cache)[0] == "22"
    assert codes(cache) == dict.fromkeys(after, 0)


def test_processes_that_start_together_compile_once(checkout, tmp_path):
    """Of four processes one compiles; the others wait for it and load."""
    cache = tmp_path / "cache"
    processes = [started(checkout, cache) for _ in range(4)]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert all(line.startswith("4 ") for line in told)
    hits = [line.split(" ", 1)[1].strip() for line in told]
    assert sorted("1" in each for each in hits) == [False, True, True, True]


def test_a_cache_of_another_user_is_refused(checkout, tmp_path):
    """What is read from the cache is executed, so a folder that cannot be this user's is an error that says what to do."""
    cache = tmp_path / "file"
    cache.write_text("no folder")
    env = {**os.environ, "PYTHONPATH": str(checkout), "SHARDMILL_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", CALL], env=env, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "SHARDMILL_CACHE_DIR" in done.stderr


def test_a_kernel_that_does_not_compile_leaves_nobody_waiting(checkout, tmp_path):
    """A failed compilation gives its lock back: the next call, here or in another process, fails at once with the same error."""
    (checkout / "operators" / "kernels" / "broken.py").write_text(BROKEN)
    (checkout / "call.py").write_text(CALL_BROKEN)
    env = {**os.environ, "PYTHONPATH": str(checkout), "SHARDMILL_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "call.py"], env=env, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["TypingError"] * 4 + ["0"]


def run_in(checkout: Path, cache: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(checkout), "SHARDMILL_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", *command], env=env, cwd=checkout, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("number", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "SystemExit")])
def test_a_signal_while_llvm_works_is_not_lost(checkout, tmp_path, number, raised):
    """What the signal's handler raises is what compiling ends with, and nothing is written about it; the next call is as ever."""
    done = run_in(checkout, tmp_path / "cache", CALL_INTERRUPTED, number)
    assert (done.stdout.split(), done.stderr) == ([raised, "4", "True"], "")


def test_kernels_compile_in_a_thread(checkout, tmp_path):
    """A thread, which may not touch the handlers of signals, compiles as the main one does."""
    done = run_in(checkout, tmp_path / "cache", CALL_IN_THREAD)
    assert (done.stdout.split(), done.stderr) == (["4", "True"], "")
