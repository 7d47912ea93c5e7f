"""Tables kept on a node: what is damaged is made anew, and what nothing uses goes."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from operators.kernels import kept as module
from operators.kernels import unicode, unused
from operators.kernels.kept import kept
from operators.kernels.unused import UNUSED_DAYS, remove_unused

DIGEST = "0123456789abcdef0123"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this node."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    remove_unused.cache_clear()
    return tmp_path


def numbers():
    return {"numbers": np.arange(1, 13, dtype=np.int16), "names": np.array(["a", "bc"]), "none": np.zeros((0, 2)), "one": np.float32(1)}


def test_any_damage_is_mended(cache):
    """Whichever byte of a file is another, the arrays are right, and the file is if its arrays were not."""
    first = kept("small", unused.__file__, b"", numbers)
    [path] = cache.glob("*.npz")
    sound = path.read_bytes()
    for position in range(len(sound)):
        changed = sound[position] ^ (1 + position % 255)
        path.write_bytes(sound[:position] + bytes([changed]) + sound[position + 1 :])
        found = kept("small", unused.__file__, b"", numbers)
        assert found.keys() == first.keys()
        assert all(np.array_equal(found[name], first[name]) for name in first), position


def test_tables_of_characters_are_made_again(cache):
    """A kernel never sees tables that are not those of this Python."""
    read_tables = unicode.tables.__wrapped__
    read_tables()
    [path] = cache.glob("unicode-*.npz")
    sound = path.read_bytes()
    path.write_bytes(sound[:5000] + b"\xff" * 50 + sound[5050:])
    assert all(np.array_equal(mine, other) for mine, other in zip(read_tables(), unicode.tables(), strict=True))
    assert path.read_bytes() == sound


def aged(path, read_days, written_days):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, (time.time() - read_days * 86_400, time.time() - written_days * 86_400))
    return path


def test_what_nothing_uses_goes_when_something_is_made(cache):
    """Code and tables that were neither read nor written for long go, all else in the folder stays, and it is looked at once a process."""
    old, young = UNUSED_DAYS + 1, UNUSED_DAYS - 1
    code = cache / "kernels" / f"pii-{DIGEST}"
    unused_files = [
        *(code / name for name in ("pii.scan-7.py311.nbi", "pii.scan-7.py311.1.nbc", "pii.scan-7.py311.lock", "a.nbi.tmp.0123")),
        *(cache / f"unicode-{DIGEST}{extension}" for extension in (".npz", ".lock", ".77.tmp")),
    ]
    for path in unused_files:
        aged(path, old, old)
    others = [
        aged(code / "pii.find-9.py311.nbi", young, old),
        aged(code / "pii.find-9.py311.1.nbc", old, young),
        *(
            aged(cache / name, old, old)
            for name in ("notes.npz", "notes-2020.lock", f"kernels/pii-{DIGEST}/notes.txt", "kernels/a-b/c.nbc")
        ),
    ]
    kept("small", unused.__file__, b"", numbers)
    assert [path.name for path in unused_files if path.exists()] == []
    assert all(path.exists() for path in others)
    aged(unused_files[0], old, old)
    kept("small", unused.__file__, b"another", numbers)
    assert unused_files[0].exists()
