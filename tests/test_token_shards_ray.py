"""Token shards on a real Ray: two workers, of which some are killed with -9, write the files of one process."""

from __future__ import annotations

import pytest
from pipelines_made import contents, orphans, same, write_input
from tokens_made import runs_of

from pipelines.faults import TOKEN_POINTS

pytestmark = [pytest.mark.ray, pytest.mark.chaos]


def test_workers_that_are_killed_while_they_write_token_shards_leave_no_trace(tmp_path, shm_path, ray_cluster):
    """One dies between two files of a token shard, one before the record: the files and bytes are those of a run without Ray."""
    source = write_input(tmp_path / "input", rows=36, files=2)
    alone = runs_of(tmp_path, source, str(tmp_path / "out"))
    alone.finish()
    runs = runs_of(shm_path, source, str(shm_path / "out"), cluster=ray_cluster.settings)
    child = runs.start(",".join(f"{point}=kill" for point in TOKEN_POINTS), SHARDMILL_FAULT_ONCE=str(shm_path / "runs" / "once"))
    assert child.wait() == 0, child.answered()
    assert all(runs.fired(point) for point in TOKEN_POINTS)
    assert not same(contents(runs.store()), contents(alone.store()))
    assert not orphans(runs.store())
