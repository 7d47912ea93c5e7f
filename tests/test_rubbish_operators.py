"""Operators that fail or break their contract, and disks that are full: rows are quarantined with their place, or one error says so."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from corpora import (
    SCHEMA,
    config_of,
    custom,
    differences,
    documents,
    files_of,
    finished,
    output_of,
    pipeline,
    records,
    write_jsonl,
    write_parquet,
)
from spoilt import LENIENT, STEPS, good, made, message_of

from pipelines import worker
from pipelines.errors import BudgetExceeded, LedgerImbalance, ShardmillError, StorageError, UnitError
from pipelines.run import run
from pipelines.storage import LocalStore

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_an_operator_that_raises_on_some_rows_quarantines_exactly_those(tmp_path):
    """Whatever batch they are in; the class and message of each row's own error are kept, on one line, bounded."""
    good(tmp_path, number=100)
    body = """
texts = batch.column("text").to_pylist()
for text in texts:
    if text.startswith("h"):
        raise KeyError(f"cannot judge\\n{text[:3]} " + "long " * 500)
return Result(batch)
"""
    steps = [{"type": "length_filter", "min_chars": 1}, custom(tmp_path, body), {"type": "exact_dedup"}]
    expected = [number for number, row in enumerate(documents(100, prefix="good")) if row["text"].startswith("h")]
    for batch_bytes in ("1KiB", "16MiB"):
        found = finished(made(tmp_path, steps, execution={**LENIENT, "batch_bytes": batch_bytes, "unit_bytes": "auto"}))
        assert found.quarantined() == [("good.parquet", row // 25, row, "mine", "KeyError") for row in expected]
        message = found.table("quarantine")[0]["message"]
        assert message.startswith("'cannot judge")
        assert len(message) <= 200
        assert "\n" not in message
    assert found.manifest["ledger"]["quarantined"] == {"KeyError": len(expected)}


def test_rows_that_an_operator_reports_as_errors_are_quarantined(tmp_path):
    """An operator may say which rows it cannot process; their drop reasons do not count, the others' do."""
    good(tmp_path, number=50)
    body = """
texts = batch.column("text").to_pylist()
errors = {n: RowError("no_river", "there is no river") for n, text in enumerate(texts) if "river" not in text}
return Result(batch, pa.array(["wet" if len(text) % 2 else None for text in texts], pa.string()), errors)
"""
    found = finished(made(tmp_path, [custom(tmp_path, body)]))
    rows = documents(50, prefix="good")
    assert [row for _, _, row, _, _ in found.quarantined()] == [n for n, row in enumerate(rows) if "river" not in row["text"]]
    assert found.texts() == [row["text"] for row in rows if "river" in row["text"] and len(row["text"]) % 2 == 0]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("return Result(batch.slice(1) if batch.num_rows else batch)", LedgerImbalance, "rows and returned"),
        ("return Result(pa.concat_batches([batch, batch]))", LedgerImbalance, "a row is lost or made up"),
        ("return Result(batch, pa.nulls(max(batch.num_rows - 1, 0), pa.string()))", LedgerImbalance, "reasons"),
        (
            "return Result(batch if batch.num_rows < 9 else batch.append_column('extra', pa.nulls(batch.num_rows)))",
            UnitError,
            "gave other columns than it gives for an empty batch",
        ),
        ("return Result(batch.select(['id']) if batch.num_rows else batch)", UnitError, "gave other columns"),
        ("return batch", UnitError, "AttributeError"),
        (
            """
offsets = np.arange(batch.num_rows + 1, dtype=np.int64) * 20
offsets[batch.num_rows // 2] = 0
texts = pa.LargeStringArray.from_buffers(batch.num_rows, pa.py_buffer(offsets), pa.py_buffer(bytes(20 * batch.num_rows)))
return Result(batch.set_column(batch.schema.get_field_index("text"), batch.schema.field("text"), texts))
""",
            UnitError,
            "gave column 'text': the offsets of its",
        ),
    ],
    ids=["loses", "doubles", "too-few-reasons", "more-columns", "fewer-columns", "no-result", "offsets-that-go-back"],
)
def test_an_operator_that_breaks_the_contract_is_named(tmp_path, body, kind, words):
    """A row lost or made up, or columns that change between batches, are no data error: the run stops and names the operator."""
    good(tmp_path)
    message = message_of(made(tmp_path, [custom(tmp_path, body)]), kind)
    assert "operator 'mine'" in message
    assert words in message


def test_an_operator_that_raises_on_everything_is_refused_before_the_start(tmp_path):
    """It fails on an empty batch already; its own error is in the message."""
    good(tmp_path)
    message = message_of(made(tmp_path, [custom(tmp_path, "raise ValueError('never works')")]), UnitError)
    assert message == "operator 'mine' cannot be opened: ValueError: never works"
    assert not list(records(tmp_path / "out"))


def test_an_operator_that_raises_on_every_row_exhausts_the_budget(tmp_path):
    """The default budget stops the run; the message has the numbers, the error and the remedy."""
    good(tmp_path)
    message = message_of(made(tmp_path, [custom(tmp_path, BROKEN)], execution={}), BudgetExceeded)
    assert message.startswith("40 of 40 rows are quarantined (RuntimeError 40 in the last unit)")
    assert "execution.max_quarantined_fraction (0.001)" in message
    everything = finished(made(tmp_path, [custom(tmp_path, BROKEN)]))
    assert everything.rows() == []
    assert len(everything.quarantined()) == 40


BROKEN = "if batch.num_rows:\n    raise RuntimeError('no')\nreturn Result(batch)"
ODD_ROWS = """
for text in batch.column("text").to_pylist():
    if int(text) % 4 == 0:
        raise RuntimeError("a fourth")
return Result(batch)
"""


@pytest.mark.parametrize("rows", [8, 100, 300])
def test_the_budget_is_a_bound_not_a_threshold(tmp_path, rows):
    """Exactly the fraction that is allowed passes, whatever floating-point says of it; a row more stops the run, also when resumed."""
    texts = [{"id": str(n), "text": str(n)} for n in range(rows)]
    write_parquet(tmp_path / "in" / "a.parquet", texts, schema=pa.schema([SCHEMA.field("id"), SCHEMA.field("text")]))
    steps = [custom(tmp_path, ODD_ROWS)]
    below = made(tmp_path, steps, execution={"max_quarantined_fraction": 0.25 - 1 / rows / 2})
    for _ in range(2):
        assert f"{rows // 4} of {rows} rows are quarantined" in message_of(below, BudgetExceeded)
    found = finished(made(tmp_path, steps, execution={"max_quarantined_fraction": 0.25}))
    assert found.manifest["ledger"]["quarantined"] == {"RuntimeError": rows // 4}


@pytest.mark.parametrize("fraction", [0.07, 0.29, 0.57, 0.58])
def test_the_bound_is_exact_where_floating_point_is_not(tmp_path, fraction):
    """29 of 100 rows are not more than 0.29 of them, although 0.29 * 100 is below 29 in floating point."""
    count = round(fraction * 100)
    write_jsonl(tmp_path / "in" / "a.jsonl", [b"broken"] * count + [{"text": f"text {n}"} for n in range(100 - count)])
    found = finished(made(tmp_path, execution={"max_quarantined_fraction": fraction}))
    assert found.manifest["ledger"]["quarantined"] == {"invalid_json": count}


def test_on_error_fail_stops_at_the_first_bad_row(tmp_path):
    """The message names operator, place and error; with a bad line of the input, the reader's."""
    good(tmp_path)
    strict = {"on_error": "fail", **LENIENT}
    body = 'if batch.num_rows and "short" in batch.column("text").to_pylist():\n    raise ValueError("short")\nreturn Result(batch)'
    message = message_of(made(tmp_path, [custom(tmp_path, body)], execution=strict), UnitError)
    assert "operator 'mine' failed in the batch at row 0 of " in message
    assert "good.parquet: ValueError: short; mend " in message
    lines = write_jsonl(tmp_path / "in" / "a.jsonl", [{"text": "fine"}, b"{broken"])
    assert f"{lines}: row 1 (row group 0): invalid_json" in message_of(made(tmp_path, execution=strict), UnitError)


def unless(flag: Path, folder: Path) -> Any:
    """An operator that stops the run unless a file is there."""
    body = f"""
import os
from pipelines.errors import UnitError
if batch.num_rows and not os.path.exists({str(flag)!r}):
    raise UnitError("stopped")
return Result(batch)
"""
    return custom(folder, body, "stops")


def test_on_error_fail_does_not_accept_what_an_earlier_run_quarantined(tmp_path):
    """A run that is stopped and resumed more strictly holds what was committed before to the stricter rule."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"text": "fine"}, b"{broken"])
    flag = tmp_path / "flag"
    steps = [{"type": "length_filter"}, {"type": "exact_dedup"}, unless(flag, tmp_path)]
    message_of(made(tmp_path, steps), UnitError)
    assert len(list(records(tmp_path / "out"))) >= 1
    flag.touch()
    message_of(made(tmp_path, steps, execution={"on_error": "fail", **LENIENT}), BudgetExceeded)


RANDOM = """
import os
return Result(batch, pa.array(["unlucky" if os.urandom(1)[0] % 2 else None for _ in range(batch.num_rows)], pa.string()))
"""


def test_an_operator_that_is_not_deterministic_harms_nobody(tmp_path):
    """Each unit's first commit counts: the ledger balances, every document is somewhere once, and a second run finds it finished."""
    good(tmp_path, number=100)
    steps = [custom(tmp_path, RANDOM), {"type": "exact_dedup"}, {**custom(tmp_path, RANDOM, "other"), "name": "again"}]
    config = made(tmp_path, steps, execution={"unit_bytes": "2KiB", "batch_bytes": "1KiB", "keep_intermediates": "latest"})
    found = finished(config)
    assert found.manifest["ledger"]["dropped"]["mine"]["unlucky"] > 0
    assert run(config).was_finished
    assert output_of(tmp_path / "out").manifest == found.manifest


def test_an_operator_whose_attempt_is_repeated_after_a_partial_exchange_still_adds_up(tmp_path):
    """A run that dies after the first stage goes on with the committed parts, never with what a second try of the operator would give."""
    good(tmp_path, number=100)
    flag = tmp_path / "flag"
    first = custom(tmp_path, RANDOM)
    config = made(tmp_path, [first, {"type": "exact_dedup"}, unless(flag, tmp_path)])
    message_of(config, UnitError)
    committed = {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}
    flag.touch()
    finished(config)
    after = {body["key"]: body["attempt"] for _, body in records(tmp_path / "out")}
    assert committed.items() <= after.items()


def test_a_unit_that_is_split_names_the_right_documents(tmp_path):
    """Files that a split leaves to the other half, and empty ones, do not shift whom a removed document names as kept."""
    for number in range(5):
        twin = {**documents(1)[0], "text": f"a twin from file {number // 3 * 3 + 1} on"}
        write_parquet(tmp_path / "in" / f"{number}.parquet", [*documents(20, seed=number), twin, twin] if number not in (0, 2) else [])
    flag = tmp_path / "memory-is-short"
    body = f"""
import os
if batch.num_rows > 10 and os.path.exists({str(flag)!r}):
    raise MemoryError
return Result(batch)
"""
    steps = [custom(tmp_path, body), {"type": "exact_dedup", "keep": "longest"}, {"type": "length_filter", "min_chars": 1}]
    whole = finished(made(tmp_path, steps, execution={"unit_bytes": "1MiB", **LENIENT}))
    flag.touch()
    target = tmp_path / "split"
    split = finished(config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", target, steps, execution={"unit_bytes": "1MiB", **LENIENT}))
    assert len(list((target / "_shardmill" / "splits").iterdir())) > 1
    assert differences(files_of(whole.root), files_of(split.root)) == []
    assert len({row["kept_doc_key"][:10] for row in split.table("duplicates")}) > 1


def test_rows_of_a_split_unit_count_once_in_the_budget(tmp_path):
    """A unit that quarantined rows and is split in a later stage does so again in its halves: the budget is for rows, not for tries."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [b"broken"] * 4 + [{"text": f"text {number}"} for number in range(96)])
    body = "if batch.num_rows > 20:\n    raise MemoryError\nreturn Result(batch)"
    steps = [{"type": "exact_dedup"}, custom(tmp_path, body)]
    found = finished(made(tmp_path, steps, execution={"unit_bytes": "1MiB", "max_quarantined_fraction": 0.04}))
    assert found.manifest["ledger"]["quarantined"] == {"invalid_json": 4}
    assert list((found.root / "_shardmill" / "splits").iterdir())


# --- disks


class FullStore(LocalStore):
    """A disk that is full for everything but small objects."""

    def _upload(self, path: str, *, conditional: bool) -> Any:
        upload = super()._upload(path, conditional=conditional)
        if path.startswith(("_shardmill/parts", "data/")):
            upload.write = _no_space  # type: ignore[method-assign]
        return upload


def _no_space(_data: memoryview) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_store_that_runs_full_is_one_error(tmp_path, monkeypatch):
    """Not retried for minutes; said as what it is; when there is space again, the run goes on."""
    good(tmp_path)
    config = made(tmp_path)
    worker._WORKERS.clear()
    with monkeypatch.context() as patch:
        patch.setattr(worker, "open_store", lambda uri, options=None: FullStore(uri, options))
        assert "No space left on device" in message_of(config, ShardmillError)
    worker._WORKERS.clear()
    finished(config)


IN_A_SMALL_DISK = """
mount -t tmpfs -o size=2m tmpfs {out} || exit 77
{python} -m pipelines.cli run {file} --quiet 2> {log}
code=$?
find {out} -name manifest.json | grep . && exit 78
mount -o remount,size=64m {out} || exit 77
{python} -m pipelines.cli run {file} --quiet || exit 79
test -f {out}/manifest.json || exit 80
exit $code
"""


def test_a_full_disk_is_one_message_and_the_run_goes_on_with_more_space(tmp_path):
    """A disk of 2 MB: exit 1, one message, no version; after it grew, the same command finishes."""
    rows = [{"id": str(n), "text": os.urandom(600).hex()} for n in range(4000)]
    write_parquet(tmp_path / "in" / "a.parquet", rows, 500, pa.schema([SCHEMA.field("id"), SCHEMA.field("text")]))
    (tmp_path / "out").mkdir()
    file = pipeline(tmp_path / "p.yaml", f"{tmp_path}/in/", tmp_path / "out", STEPS[:1])
    script = IN_A_SMALL_DISK.format(out=tmp_path / "out", python=sys.executable, file=file, log=tmp_path / "log")
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[1])
    except FileNotFoundError:
        pytest.skip("there is no `unshare` here to mount a small disk with")
    if (done.returncode in (1, 77) and "unshare" in done.stderr) or done.returncode == 77:
        pytest.skip(f"no small disk may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    message = (tmp_path / "log").read_text()
    assert "No space left on device" in message
    assert message.count("\n") == 1
    assert "Traceback" not in message


def test_an_output_that_cannot_be_written_is_refused_before_the_start(tmp_path):
    """A file where the folder should be; the message names the path."""
    good(tmp_path)
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        run(made(tmp_path))
    assert str(tmp_path / "out") in caught.value.message


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc here, which nobody may write to")
def test_an_output_on_a_file_system_that_refuses_is_one_error(tmp_path):
    """Not even root may write there: the error is the store's, with the path and the system's reason."""
    good(tmp_path)
    config = config_of(tmp_path / "p.yaml", f"{tmp_path}/in/", "/proc/shardmill-out", STEPS)
    with pytest.raises(StorageError, match="/proc/shardmill-out"):
        run(config)
