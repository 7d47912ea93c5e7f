"""`verify` finds every damage that a finished output can have, and names it; `open_dataset` and `load_dataset` read exactly one version."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made import INVENTORY, Output, parquet, rewrite_manifest

import pipelines
from pipelines import verify_documents
from pipelines.documents import ReadOptions
from pipelines.errors import AccessDenied, InputError, NotFound
from pipelines.identity import DOC_KEY, doc_keys, uri_prefix
from pipelines.inventory import take_inventory
from pipelines.objectfile import ObjectFile, opened_parquet
from pipelines.rows import DROPPED, DUPLICATES, QUARANTINE
from pipelines.storage import LocalStore, Sources, Store, open_store
from pipelines.verify import Check, Verification, render, verify
from pipelines.verify_inventory import as_keys
from pipelines.version import replace_any

PART = f"{made.PLAN[:8]}.parquet"
FIRST = f"data/v1/part-00000-{PART}"
DROPPED_1 = f"versions/v1/dropped/part-00001-{PART}"
Damage = Callable[[Store], None]


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "out"))


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "out"))
    server = request.getfixturevalue("s3_server")
    return open_store(f"s3://{server.make_bucket()}/some/out", server.options)


def verified(store: Store, version: str | None = None) -> Verification:
    return verify(store.uri, store.options, version=version)


def failures(found: Verification) -> list[tuple[str, str, str]]:
    return [(check.name, check.subject, check.message) for check in found.checks if not check.ok]


def expect(found: Verification, *expected: tuple[str, str, str]) -> None:
    """Exactly these checks fail: (name, subject, words of the message)."""
    failed = failures(found)
    assert not found.ok
    assert [(name, subject) for name, subject, _ in failed] == [(name, subject) for name, subject, _ in expected], failed
    for (_, _, message), (_, _, words) in zip(failed, expected, strict=True):
        assert words in message


# --- whole


def test_an_undamaged_output_passes_every_check_and_says_what_it_is(store: Store) -> None:
    """An output that keeps the contract passes each check, none left out, with its rows, files and bytes."""
    manifest = Output().write(store)
    found = verified(store)
    assert failures(found) == []
    assert found.ok
    assert all(check.checked for check in found.checks)
    output = manifest["output"]
    assert (found.version, found.rows, found.files, found.bytes) == ("v1", output["rows"], output["shards"], output["bytes"])


def test_the_result_is_one_json_object_and_one_line_a_check(local: Store) -> None:
    """What the command prints holds every check, whether it passed and what it is about."""
    Output().write(local)
    local.delete([FIRST])
    found = verified(local)
    as_json = found.to_json()
    assert (as_json["ok"], as_json["version"], len(as_json["checks"])) == (False, "v1", len(found.checks))
    lines = render(found)

    def mark(check: Check) -> str:
        return "–" if not check.checked else "✓" if check.ok else "✗"

    assert len(lines) == len(found.checks) + 1
    assert [line[0] for line in lines[:-1]] == [mark(check) for check in found.checks]
    assert any(line.startswith("✗ shards") and FIRST in line for line in lines)


def test_the_columns_that_verify_expects_are_those_that_runs_write() -> None:
    """The contract is written down twice, for runs and for their verification, and says the same."""
    for name, schema in (("dropped", DROPPED), ("duplicates", DUPLICATES), ("quarantine", QUARANTINE)):
        assert pa.schema(made.SIDE[name]) == schema
    assert pa.binary(16) == DOC_KEY


def test_a_version_without_any_row_passes(local: Store) -> None:
    """Everything dropped is a finished version too: a shard without rows, and empty side tables of the other kinds."""
    places = [(file, row) for file, rows in ((0, 10), (1, 6)) for row in range(rows)]
    dropped = [(place, "short", "too_short") for place in places]
    Output(dropped=dropped, quarantined=[], duplicates=[], shards=[("", [])]).write(local)
    assert failures(verified(local)) == []


def test_verification_of_a_copy_without_the_inventory_says_what_it_could_not_check(local: Store) -> None:
    """A published copy has no `_shardmill`: that is no failure, and is told."""
    Output().write(local)
    local.delete([INVENTORY])
    found = verified(local)
    assert found.ok
    assert [check.name for check in found.checks if not check.checked] == ["inventory"]
    assert "could not be made" in render(found)[-1]


def test_the_inventory_that_runs_save_is_understood(local: Store, tmp_path: Path) -> None:
    """Rows, files, bytes and keys are checked against an inventory as `Inventory.save` writes it."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, rows in (("a", 10), ("b", 6)):
        pq.write_table(pa.table({"text": ["x"] * rows}), raw / f"{name}.parquet", row_group_size=4)
    (raw / "c.parquet").write_bytes(b"PAR1 torn")
    inventory = take_inventory(Sources(), [str(raw)], ReadOptions(None, "text", None, ()))
    errors = [{"uri": uri, "error": error, "message": message} for uri, error, message in inventory.unreadable]

    def edit(manifest: dict[str, Any]) -> None:
        manifest["input"] |= {"bytes": inventory.num_bytes, "unreadable": errors}

    inputs = [(str(raw / "a.parquet"), [4, 4, 2]), (str(raw / "b.parquet"), [4, 2]), (str(raw / "c.parquet"), [])]
    Output(inputs=inputs, edit=edit).write(local)
    inventory.save(local, INVENTORY)
    found = verified(local)
    assert failures(found) == []
    assert all(check.checked for check in found.checks)


def test_tables_larger_than_one_pass_are_compared_in_parts(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are compared in many passes give the same answer, whichever pass a key falls into."""
    monkeypatch.setattr(verify_documents, "PASS_ROWS", 2)
    Output().write(local)
    assert failures(verified(local)) == []
    output = Output()
    output.dropped.append(((0, 7), "short", "too_short"))
    output.shards[0][1].remove((0, 0))
    output.write(local)
    expect(verified(local), ("doc_keys", "versions/v1/dropped", "is lost more than once"))


@pytest.mark.parametrize("num_parts", [2, 8, 15])
def test_the_keys_of_one_file_are_spread_over_all_parts(num_parts: int) -> None:
    """Memory of a pass is bounded only if no part gets far more keys than its share, though keys of a file differ in few bits."""
    keys = as_keys(doc_keys([uri_prefix("/raw/a.parquet")], np.zeros(80_000, np.int64), np.arange(80_000)))
    counted = np.bincount(verify_documents.parts_of(keys, num_parts), minlength=num_parts)
    assert len(counted) == num_parts
    assert abs(counted * num_parts / len(keys) - 1).max() < 0.1


# --- files


def changed(path: str, at: int = -1) -> Damage:
    """One byte of a file is another."""

    def damage(store: Store) -> None:
        data = bytearray(store.read(path))
        data[at % len(data)] ^= 0xFF
        replace_any(store, path, bytes(data))

    return damage


def exchanged(one: str, other: str) -> Damage:
    """Two files change places."""

    def damage(store: Store) -> None:
        first, second = store.read(one), store.read(other)
        replace_any(store, one, second)
        replace_any(store, other, first)

    return damage


def edited(edit: Callable[[dict[str, Any]], Any]) -> Damage:
    """The manifest says something else, in both places."""
    return lambda store: rewrite_manifest(store, edit)


def added(path: str, data: bytes = b"x") -> Damage:
    return lambda store: replace_any(store, path, data)


def removed(path: str) -> Damage:
    return lambda store: store.delete([path]) and None


def truncated(path: str, size: int = 100) -> Damage:
    return lambda store: replace_any(store, path, store.read(path)[:size])


@dataclass
class Case:
    damage: Damage
    expected: tuple[str, str, str]
    more: tuple[tuple[str, str, str], ...] = ()


MISSING_ROWS = (
    ("ledger", "manifest.json", "3 rows are missing"),
    ("ledger", "manifest.json", "rows_out is 9, but the shards of v1 hold 6"),
)
ON_EVERY_STORE = {
    "a missing shard": Case(removed(FIRST), ("shards", FIRST, "it is missing"), MISSING_ROWS),
    "a changed byte": Case(changed(FIRST, 100), ("shards", FIRST, "its bytes were changed")),
    "a row count that does not add up": Case(
        edited(lambda made: made["ledger"].update(rows_out=8)),
        ("ledger", "manifest.json", "ledger.rows_out is 8, but the shards of v1 hold 9 rows"),
        (("operators", "manifest.json", "ledger.rows_out is 8, but operator tokenize gave 9"),),
    ),
    "a shard that no table names": Case(
        added(f"data/v1/part-00009-{PART}"),
        ("strays", f"data/v1/part-00009-{PART}", "no version's table names it"),
        (("card", "README.md", f"also name data/v1/part-00009-{PART}"),),
    ),
    "a truncated manifest": Case(
        truncated("manifest.json", 1000),
        ("manifest", "manifest.json", "it is no JSON"),
    ),
    "no manifest": Case(removed("manifest.json"), ("manifest", "manifest.json", "nothing is finished here")),
}


@pytest.mark.parametrize("name", ON_EVERY_STORE)
def test_damage_is_found_and_named_on_every_store(store: Store, name: str) -> None:
    """Each of the gravest damages is told with its file, on a local path and on S3, and nothing else is blamed."""
    Output().write(store)
    case = ON_EVERY_STORE[name]
    case.damage(store)
    expect(verified(store), case.expected, *case.more)


def test_a_side_table_exchanged_with_another_is_found(store: Store) -> None:
    """Tables that changed places, or came from another run, are known by their bytes and columns."""
    Output().write(store)
    one, other = f"versions/v1/duplicates/part-00000-{PART}", f"versions/v1/quarantine/part-00000-{PART}"
    exchanged(one, other)(store)
    failed = failures(verified(store))
    assert {(name, subject) for name, subject, _ in failed} == {("duplicates table", one), ("quarantine table", other)}
    assert any("its columns are" in message for _, _, message in failed) or all("bytes" in message for _, _, message in failed)


def _shards_table_says(file: bytes | None = None, **columns: Any) -> Damage:
    """shards.parquet says something else of the first shard, and the manifest has its new digest; `file` is what the shard is then."""

    def damage(store: Store) -> None:
        path = "versions/v1/shards.parquet"
        rows = pq.read_table(pa.BufferReader(store.read(path)))
        told = rows.to_pylist()
        told[0] |= columns
        if file is not None:
            replace_any(store, FIRST, file)
        data = parquet(pa.Table.from_pylist(told, schema=rows.schema))
        replace_any(store, path, data)
        rewrite_manifest(store, lambda manifest: manifest["tables"]["shards"].update(sha256=made.sha256(data)))

    return damage


def _same_size_other_dropped(store: Store) -> None:
    """A file of the dropped is one of another run, of the same rows."""
    other = Output(inputs=[("/other/a.parquet", [10]), ("/other/b.parquet", [6]), ("/other/c.parquet", [])])
    replace_any(store, DROPPED_1, other.table_files()["dropped"][DROPPED_1])


def _second_version(store: Store) -> None:
    """Another version, whose parent is none that is here."""
    Output(version="v2", edit=lambda manifest: manifest.update(parents=["0" * 64])).write(store)


def _inventory_of(inputs: list[tuple[str, list[int]]]) -> Damage:
    return lambda store: replace_any(store, INVENTORY, Output(inputs=inputs).inventory())


OTHER_CARD = b'---\nconfigs:\n- config_name: default\n  data_files: "data/v2/**/*.parquet"\n---\n'
NARROW_CARD = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/v1/*-{PART}\n---\n".encode()
M, S1 = "manifest.json", "versions/v1/shards.parquet"
FILES = {
    "a shard cut short": Case(truncated(FIRST, 50), ("shards", FIRST, "it has 50 bytes, expected"), MISSING_ROWS),
    "a shard of no bytes": Case(added(FIRST, b""), ("shards", FIRST, "it has 0 bytes, expected"), MISSING_ROWS),
    "a shard that is no Parquet": Case(
        _shards_table_says(sha256=made.sha256(b"x" * 1500), bytes=1500, file=b"x" * 1500),
        ("shards", FIRST, "it cannot be read as Parquet"),
        (("output", "manifest.json", "output.bytes is"), *MISSING_ROWS),
    ),
    "rows of a shard": Case(
        _shards_table_says(rows=4),
        ("shards", FIRST, "its footer says 3 rows, its table 4"),
        (("output", M, "output.rows is 9, but the shards of versions/v1/shards.parquet have 10"),),
    ),
    "tokens of a shard": Case(
        _shards_table_says(num_tokens=1),
        ("shards", FIRST, "its num_tokens add up to 13, its table says 1"),
        (("output", M, "output.tokens is 44, but"),),
    ),
    "a shard named twice": Case(
        _shards_table_says(path=f"data/v1/part-00001-{PART}"),
        ("shards table", S1, "is named more than once"),
        (
            ("shards", f"data/v1/part-00001-{PART}", "bytes, expected"),
            ("shards", f"data/v1/part-00001-{PART}", "its num_tokens add up to 20, its table says 13"),
            ("strays", FIRST, "no version's table names it"),
            ("card", "README.md", f"also name {FIRST}"),
        ),
    ),
    "a shard outside the output": Case(
        _shards_table_says(path="data/v1/../../secret.parquet"),
        ("shards table", S1, "is no path of a shard"),
        (
            ("strays", FIRST, "no version's table names it"),
            *MISSING_ROWS,
            ("card", "README.md", "leave out data/v1/../../secret.parquet"),
            ("card", "README.md", f"also name {FIRST}"),
        ),
    ),
    "the table of shards": Case(changed(S1, 40), ("shards table", S1, "")),
    "columns of the manifest": Case(
        edited(lambda made: made["schema"][3].update(type="int32")),
        ("shards", FIRST, "its columns are num_tokens (int64), expected num_tokens (int32)"),
        tuple(("shards", path, "its columns are") for path in [*Output().shard_files()][1:]),
    ),
    "sums of the output": Case(edited(lambda made: made["output"].update(bytes=1)), ("output", M, "output.bytes is 1, but")),
    "a side table's file is missing": Case(removed(DROPPED_1), ("dropped table", DROPPED_1, "it is missing")),
    "a side table of another run": Case(_same_size_other_dropped, ("dropped table", DROPPED_1, "")),
    "a side table's file that nothing names": Case(
        added("versions/v1/dropped/part-00009.parquet"), ("version folder", "versions/v1/dropped/part-00009.parquet", "nothing names it")
    ),
    "a side table's digest": Case(
        edited(lambda made: made["tables"]["dropped"].update(sha256="0" * 64)), ("dropped table", M, "tables.dropped.sha256 is 000000")
    ),
    "a side table's rows": Case(edited(lambda made: made["tables"]["dropped"].update(rows=4)), ("dropped table", M, "its files have 5")),
    "a side table elsewhere": Case(
        edited(lambda made: made["tables"]["dropped"]["files"][0].update(path="../x.parquet")),
        ("dropped table", M, "names ../x.parquet"),
        (("version folder", f"versions/v1/dropped/part-00000-{PART}", "nothing names it"),),
    ),
    "no report": Case(removed("versions/v1/report.html"), ("version folder", "versions/v1/report.html", "it is missing")),
    "one manifest of the two": Case(
        added("versions/v1/manifest.json", b"{}"), ("current", "versions/v1/manifest.json", "it is not manifest.json byte for byte")
    ),
    "a stray in a version that never was": Case(
        added("data/v7/part-0.parquet"), ("strays", "data/v7/part-0.parquet", "no version's table")
    ),
    "a parent that is not here": Case(_second_version, ("parents", M, "is the digest of no older version's manifest (v1)")),
    "inventory with other rows": Case(
        _inventory_of([("/raw/a.parquet", [6, 5]), ("/raw/b.parquet", [6]), ("/raw/c.parquet", [])]),
        ("inventory", M, "input.rows is 16, but"),
    ),
    "inventory of other files": Case(
        _inventory_of([("/raw/a.parquet", [10]), ("/raw/z.parquet", [6]), ("/raw/c.parquet", [])]),
        ("places", DROPPED_1, "row 2 of /raw/b.parquet is said to be gone, but the inventory has no such file"),
        (
            ("places", f"versions/v1/quarantine/part-00000-{PART}", "row 5 of /raw/b.parquet"),
            ("duplicates", f"versions/v1/duplicates/part-00000-{PART}", "names a kept document that is not in the inventory"),
        ),
    ),
    "a torn inventory": Case(truncated(INVENTORY), ("inventory", INVENTORY, "it cannot be read")),
    "no card": Case(removed("README.md"), ("card", "README.md", "it is missing")),
    "a card without front matter": Case(added("README.md", b"# Hello"), ("card", "README.md", "it has no front matter")),
    "a card without data files": Case(added("README.md", b"---\na: 1\n---\n"), ("card", "README.md", "no `configs`")),
    "a card that names another version": Case(
        added("README.md", OTHER_CARD), ("card", "README.md", f"leave out {FIRST}"), (("card", "README.md", "leave out data/v1/"),) * 3
    ),
    "a card that leaves folders out": Case(
        added("README.md", NARROW_CARD),
        ("card", "README.md", "leave out data/v1/1/language=en/part-00002"),
        (("card", "README.md", "leave out data/v1/language=de/part-00003"),),
    ),
    "a card that names the side tables": Case(
        added("README.md", b'---\nconfigs:\n- config_name: default\n  data_files: "**/*.parquet"\n---\n'),
        ("card", "README.md", "are not in data/"),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_damage_of_files_is_found_and_named(local: Store, name: str) -> None:
    """Each damage is told with its file, and nothing else is blamed but what follows from it."""
    Output().write(local)
    case = FILES[name]
    case.damage(local)
    expect(verified(local), case.expected, *case.more)


@pytest.mark.parametrize("seed", range(12))
def test_any_changed_byte_of_any_file_is_found(local: Store, seed: int) -> None:
    """Whichever file a byte is changed in, verification fails and names it: there is no byte that nothing protects."""
    Output().write(local)
    paths = [
        info.path for info in local.list() if not info.path.startswith("_shardmill/") and not info.path.endswith((".html", "README.md"))
    ]
    path = paths[seed % len(paths)]
    changed(path, 7919 * (seed + 1))(local)
    found = verified(local)
    assert not found.ok
    assert any(path in (check.subject, *check.message.split()) for check in found.checks if not check.ok), render(found)


# --- the manifest's shape


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda made: made.pop("licence"), "licence is missing; expected a string or null"),
        (lambda made: made["ledger"].pop("rows_in"), "ledger.rows_in is missing"),
        (lambda made: made["ledger"].update(rows_in="16"), "ledger.rows_in: found '16', expected a whole number"),
        (lambda made: made["ledger"].update(rows_out=-1), "ledger.rows_out: found '-1'"),
        (lambda made: made["output"].update(rows=True), "output.rows: found 'True'"),
        (lambda made: made["operators"][1].update(seconds=None), "operators[1].seconds: found 'None'"),
        (lambda made: made.update(operators={}), "operators: found '{}', expected a list"),
        (lambda made: made["tables"]["dropped"]["files"][0].update(sha256="abc"), "tables.dropped.files[0].sha256: found 'abc'"),
        (lambda made: made.update(version="1"), "version: found '1', expected a version"),
        (lambda made: made.update(created_at="yesterday"), "created_at: found 'yesterday'"),
        (lambda made: made.update(manifest_version=2), "manifest_version: found 2, expected 1"),
    ],
)
def test_a_manifest_of_another_shape_is_told_key_by_key(local: Store, edit: Callable[[dict[str, Any]], Any], words: str) -> None:
    """A key that is missing or of another type is named with what was expected; nothing is checked that would need it."""
    Output().write(local)
    rewrite_manifest(local, edit)
    failed = [entry for entry in failures(verified(local)) if entry[0] == "manifest"]
    assert failed
    assert any(words in message for _, _, message in failed), failed


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"version": 3}', b"\xff\xfe"])
def test_a_manifest_that_is_something_else_is_a_failed_check_not_a_crash(local: Store, content: bytes) -> None:
    """Whatever lies at manifest.json, verification ends with a check that names it."""
    Output().write(local)
    replace_any(local, "manifest.json", content)
    found = verified(local)
    assert ("manifest", "manifest.json") in [(name, subject) for name, subject, _ in failures(found)]


# --- rows that contradict each other, in files that are whole


def contradiction(change: Callable[[Output], Any]) -> Output:
    output = Output()
    change(output)
    return output


def _relabel(output: Output, number: int, operator: str, reason: str) -> None:
    output.dropped[number] = (output.dropped[number][0], operator, reason)


def _quarantined_duplicate(output: Output) -> None:
    """A document is a duplicate by an operator that could not process it."""
    output.shards[0][1].remove((0, 4))
    output.quarantined.append(((0, 4), "url", "odd"))
    output.duplicates[2:] = [((0, 3), "url", (1, 0), 2, 1.0), ((0, 4), "url", (1, 0), 2, 1.0)]


CONTRADICTIONS: dict[str, tuple[Callable[[Output], Any], list[tuple[str, str]]]] = {
    "the kept document was removed by the same operator": (
        lambda output: (
            output.duplicates.__setitem__(1, ((1, 2), "exact_dedup", (0, 5), 1, 1.0))
            or output.duplicates.__setitem__(0, ((0, 5), "exact_dedup", (0, 3), 1, 1.0))
        ),
        [("kept documents", "as kept, but versions/v1/dropped (by exact_dedup) has it")],
    ),
    "the kept document never reached the operator": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (0, 1), 1, 1.0)),
        [("kept documents", "as kept, but versions/v1/dropped (by short) has it")],
    ),
    "the kept document could not be read": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (0, 7), 1, 1.0)),
        [("kept documents", "as kept, but versions/v1/quarantine (by reading) has it")],
    ),
    "a duplicate is its own original": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (0, 3), 1, 1.0)),
        [("duplicates", "names itself as the kept document"), ("kept documents", "as kept, but")],
    ),
    "a similarity above 1": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (1, 0), 1, 1.5)),
        [("duplicates", "has a similarity that is not between 0 and 1")],
    ),
    "a similarity that is no number": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (1, 0), 1, float("nan"))),
        [("duplicates", "has a similarity that is not between 0 and 1")],
    ),
    "a wrong number of duplicates": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (1, 0), 3, 1.0)),
        [("kept documents", "is 3, but 1 duplicates of url name it")],
    ),
    "a duplicate too few": (
        lambda output: output.duplicates.pop(2),
        [("duplicates", "it has 0 rows of operator 'url', which dropped 1 documents")],
    ),
    "a duplicate that another operator dropped": (
        lambda output: _relabel(output, 4, "exact_dedup", "exact_duplicate"),
        [
            ("duplicates", "it has 2 rows of operator 'exact_dedup', which dropped 3 documents"),
            ("duplicates", "it has 1 rows of operator 'url', which dropped 0 documents"),
            ("kept documents", "is not among the documents that url dropped; versions/v1/dropped (by exact_dedup) has it"),
            ("kept documents", "as kept, but versions/v1/dropped (by exact_dedup) has it"),
        ],
    ),
    "a duplicate that was not dropped": (
        lambda output: output.duplicates.__setitem__(2, ((0, 4), "url", (1, 0), 1, 1.0)),
        [("kept documents", "is not among the documents that url dropped; no table has it")],
    ),
    "a duplicate that was quarantined": (
        _quarantined_duplicate,
        [("duplicates", "it has 2 rows of operator 'url', which dropped 1"), ("kept documents", "versions/v1/quarantine (by url) has it")],
    ),
    "a kept document of a row that is not there": (
        lambda output: output.duplicates.__setitem__(2, ((0, 3), "url", (1, 6), 1, 1.0)),
        [("duplicates", "names a kept document that is not in the inventory")],
    ),
    "a document dropped twice": (
        lambda output: output.dropped.__setitem__(1, ((0, 1), "short", "too_short")),
        [("doc_keys", "is lost more than once: in versions/v1/dropped (by short) and versions/v1/dropped (by short)")],
    ),
    "a document dropped and quarantined": (
        lambda output: output.quarantined.__setitem__(0, ((0, 1), "read", "null_text")),
        [("doc_keys", "is lost more than once: in versions/v1/dropped (by short) and versions/v1/quarantine (by reading)")],
    ),
    "a row that the file does not have": (
        lambda output: output.dropped.__setitem__(0, ((0, 10), "short", "too_short")),
        [("places", "row 10 of /raw/a.parquet is said to be gone, but the file has 10 rows")],
    ),
    "a row of an unreadable file": (
        lambda output: output.dropped.__setitem__(0, ((2, 0), "short", "too_short")),
        [("places", "row 0 of /raw/c.parquet is said to be gone, but the file has 0 rows")],
    ),
    "an operator that the pipeline does not have": (
        lambda output: _relabel(output, 0, "shot", "too_short"),
        [("operators", "it has rows of an operator 'shot'"), ("operators", "ledger.rows_out is 9, but operator tokenize gave 10")],
    ),
    "a document too many": (
        lambda output: output.shards[0][1].append((0, 1)),
        [("ledger", "1 rows are too many"), ("operators", "ledger.rows_out is 10, but operator tokenize gave 9")],
    ),
    "a document lost without a trace": (
        lambda output: output.shards[0][1].pop(),
        [("ledger", "8 in the shards of v1 + 5 dropped + 2 quarantined: 1 rows are missing"), ("operators", "ledger.rows_out is 8")],
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_rows_that_contradict_each_other_are_found(local: Store, name: str) -> None:
    """Files whose digests are all right may still tell an impossible story; each is told, and no other."""
    change, expected = CONTRADICTIONS[name]
    contradiction(change).write(local)
    failed = failures(verified(local))
    assert [check for check, _, _ in failed] == [check for check, _ in expected], failed
    for (_, _, message), (_, words) in zip(failed, expected, strict=True):
        assert words in message


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda made: made["ledger"]["dropped"]["short"].update(too_short=1), ["dropped"]),
        (lambda made: made["ledger"]["dropped"].update(tokenize={"odd": 1}), ["dropped"]),
        (lambda made: made["ledger"]["dropped"].pop("url"), ["dropped"]),
        (lambda made: made["ledger"]["quarantined"].update(null_text=2), ["quarantined"]),
        (lambda made: made["ledger"].update(rows_in=17), ["ledger", "ledger", "operators"]),
        (lambda made: made["input"].update(rows=17), ["inventory", "ledger"]),
        (lambda made: made["input"].update(files=2), ["inventory"]),
        (lambda made: made["input"].update(unreadable=[]), ["inventory"]),
        (lambda made: made["operators"][0].update(rows_in=16), ["operators", "operators"]),
        (lambda made: made["operators"][1].update(rows_out=12), ["operators", "operators"]),
        (lambda made: made["operators"].reverse(), ["operators"]),
    ],
)
def test_counts_of_the_manifest_that_the_files_do_not_have_are_found(
    local: Store, edit: Callable[[dict[str, Any]], Any], expected: list[str]
) -> None:
    """Every number of the ledger and of the operators is counted again, and one that is off is told."""
    Output(edit=edit).write(local)
    names = [name for name, _, _ in failures(verified(local)) if name != "kept documents"]
    assert names[: len(expected)] == expected


def test_a_key_that_is_not_that_of_its_place_is_found(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """doc_key, uri and row of a lost document belong together."""
    right = Output.key
    monkeypatch.setattr(
        Output,
        "key",
        lambda self, place: right(self, (0, 3) if place == (0, 3) else (place[0], place[1] ^ 1 if place == (0, 1) else place[1])),
    )
    output = Output()
    output.write(local)
    expect(
        verified(local),
        (
            "places",
            f"versions/v1/dropped/part-00000-{PART}",
            f"{right(output, (0, 0)).hex()}, which is not the key of its place, row 1 of /raw/a",
        ),
    )


def test_thousands_of_problems_are_told_as_a_few(local: Store) -> None:
    """A cause that damages everything does not fill the terminal."""
    places = [(0, row) for row in range(500)]
    Output(
        inputs=[("/raw/a.parquet", [500])],
        dropped=[],
        quarantined=[],
        duplicates=[],
        shards=[("", [place]) for place in places[:60]] + [("", places[60:])],
    ).write(local)
    local.delete([info.path for info in local.list("data")])
    failed = [check for check in verified(local).checks if not check.ok and check.name == "shards"]
    assert len(failed) == 21
    assert "more than these 20" in failed[-1].message


# --- versions


def two_versions(store: Store) -> list[dict[str, Any]]:
    """v1, and v2 that came after it."""
    first = Output().write(store)
    parent = made.sha256(store.read("manifest.json"))
    second = Output(
        version="v2",
        shards=[("", [(0, 0), (0, 4), (0, 6), (0, 8), (0, 9), (1, 0), (1, 1), (1, 3), (1, 4)])],
        edit=lambda made: made.update(parents=[parent]),
    ).write(store)
    return [first, second]


def test_every_version_of_an_output_can_be_verified(store: Store) -> None:
    """The current version and older ones pass, each by its own files; what is only of the current one is not checked of the others."""
    two_versions(store)
    assert (verified(store).version, failures(verified(store))) == ("v2", [])
    assert [check.name for check in verified(store, "v2").checks if not check.checked] == []
    older = verified(store, "v1")
    assert (older.version, failures(older)) == ("v1", [])
    assert [check.name for check in older.checks if not check.checked] == ["card"]
    expect(verified(store, "v3"), ("manifest", "versions/v3/manifest.json", "version 'v3' is not finished here; the current one is v2"))


def test_a_version_that_also_lists_older_shards_balances_by_its_own(local: Store) -> None:
    """What an ingestion adds is accounted for; the shards of older versions count as output and must be there."""
    two_versions(local)
    tables = [pq.read_table(pa.BufferReader(local.read(f"versions/{version}/shards.parquet"))) for version in ("v1", "v2")]
    joined = pa.concat_tables(tables)
    data = parquet(joined)
    replace_any(local, "versions/v2/shards.parquet", data)

    def edit(manifest: dict[str, Any]) -> None:
        manifest["tables"]["shards"] = {"rows": joined.num_rows, "sha256": made.sha256(data)}
        sums = {
            name: sum(joined.column(column).to_pylist())
            for name, column in (("rows", "rows"), ("bytes", "bytes"), ("tokens", "num_tokens"))
        }
        manifest["output"] = {"shards": joined.num_rows, **sums}
        manifest["tokens"] |= {"total": sums["tokens"], "by_source": {"/raw": {"documents": sums["rows"], "tokens": sums["tokens"]}}}
        whole = {"documents": sums["rows"], "text_bytes": 15 * sums["rows"]}
        manifest["documents"] |= {"text_bytes": whole["text_bytes"], "lengths": [{"from_bytes": 8, "below_bytes": 16, **whole}]}

    rewrite_manifest(local, edit, "v2")
    globs = [made.card.__globals__["data_glob"](version, made.PLAN) for version in ("v1", "v2")]
    replace_any(local, "README.md", made.card(made.orjson.loads(local.read("manifest.json")), globs).encode())
    assert failures(verified(local)) == []
    local.delete([FIRST])
    expect(verified(local), ("shards", FIRST, "it is missing"))


def test_files_of_a_version_that_a_run_is_making_are_no_strays(local: Store) -> None:
    """While a run packs the next version the current one is whole; shards of one that was given up are strays."""
    Output().write(local)
    added(f"data/v2/part-00000-{PART}")(local)
    added("_shardmill/versions/v2.json", b'{"sha256":"0","body":{"number":2,"plan":"p","pack":"q","state":"claimed"}}\n')(local)
    found = verified(local)
    assert failures(found) == []
    assert any("those of v2, which a run has begun" in check.message for check in found.checks)
    added("_shardmill/versions/v2.json", b'{"sha256":"0","body":{"number":2,"plan":"p","pack":"q","state":"abandoned"}}\n')(local)
    expect(verified(local), ("strays", f"data/v2/part-00000-{PART}", "no version's table names it"))


def test_a_store_that_fails_is_an_error_and_no_verdict(local: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission to read, nothing is said of the version."""
    Output().write(local)

    def refuse(self: LocalStore, path: str, *arguments: Any, **options: Any) -> bytes:
        raise AccessDenied(f"{path}: no")

    monkeypatch.setattr(LocalStore, "read_range", refuse)
    with pytest.raises(AccessDenied):
        verified(local)


# --- reading


def ids(shards: list[tuple[str, list[tuple[int, int]]]]) -> list[str]:
    return [f"id-{file}-{row}" for _, places in shards for file, row in places]


def test_open_dataset_streams_the_current_version_in_order(store: Store) -> None:
    """Documents come shard after shard as the table names them, with every column as it was written."""
    two_versions(store)
    found = list(pipelines.open_dataset(store.uri, storage_options=store.options))
    assert [row["id"] for row in found] == [
        f"id-{file}-{row}" for file, row in [*((0, row) for row in (0, 4, 6, 8, 9)), *((1, row) for row in (0, 1, 3, 4))]
    ]
    assert found[1] == {"id": "id-0-4", "text": "Document 4 of 0", "input_ids": [0, 1, 2, 3, 4], "num_tokens": 5}


def test_open_dataset_reads_an_older_version_and_some_columns(local: Store) -> None:
    """A version and columns can be chosen; features are those of the chosen columns."""
    two_versions(local)
    dataset = pipelines.open_dataset(local.uri, version="v1", columns=["num_tokens", "id"])
    assert list(dataset.features) == ["num_tokens", "id"]
    found = list(dataset)
    assert [row["id"] for row in found] == ids(Output().shards)
    assert {*found[0]} == {"num_tokens", "id"}


def test_open_dataset_is_divided_by_shards(local: Store) -> None:
    """Nodes and workers get shards of their own, which together are everything, each once."""
    from datasets.distributed import split_dataset_by_node

    Output().write(local)
    dataset = pipelines.open_dataset(local.uri)
    assert dataset.num_shards == 4
    parts = [[row["id"] for row in split_dataset_by_node(dataset, rank, 2)] for rank in range(2)]
    assert all(parts)
    assert sorted(itertools.chain(*parts)) == sorted(ids(Output().shards))
    state = dataset.shard(num_shards=4, index=2)
    assert [row["id"] for row in state] == ["id-1-1", "id-1-3"]


def test_open_dataset_says_what_is_not_there(local: Store) -> None:
    """An output without a version, an unknown version and an unknown column are errors that say what there is."""
    with pytest.raises(NotFound, match="nothing is finished here"):
        pipelines.open_dataset(local.uri)
    Output().write(local)
    with pytest.raises(NotFound, match="version 'v2' is not finished here; finished: v1"):
        pipelines.open_dataset(local.uri, version="v2")
    with pytest.raises(InputError, match="there is no column 'txt'; the columns are: id, text, input_ids, num_tokens"):
        pipelines.open_dataset(local.uri, columns=["txt"])


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield tmp_path / "cache"
    datasets.enable_progress_bars()


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_of_a_local_output_reads_exactly_the_current_version(local: Store, offline: Path, streaming: bool) -> None:
    """By the card's front matter the datasets library reads every shard of the current version, in whatever folder, and no other file."""
    import datasets

    Output().write(local)
    found = datasets.load_dataset(local.uri, split="train", cache_dir=str(offline), streaming=streaming)
    assert sorted(row["id"] for row in found) == sorted(ids(Output().shards))
    two_versions(local)
    found = datasets.load_dataset(local.uri, split="train", cache_dir=str(offline), streaming=streaming)
    assert found.features["text"].dtype == "large_string"
    assert len(list(found)) == 9


def test_a_partition_folder_that_load_dataset_would_skip_is_told(local: Store) -> None:
    """datasets passes over names that begin with `.` or `__`: documents there would be missing without a word."""
    output = Output()
    output.shards[3] = ("__part=1", output.shards[3][1])
    output.write(local)
    expect(verified(local), ("card", "README.md", "leave out data/v1/__part=1/"))


# --- objects as files


@pytest.mark.parametrize(("block_bytes", "num_ahead"), [(1, 0), (7, 2), (1000, 4), (1 << 20, 1)])
def test_an_object_file_reads_as_a_file_does(local: Store, block_bytes: int, num_ahead: int) -> None:
    """Whatever is read, from wherever, is what is there, for any size of block."""
    data = bytes(range(256)) * 3
    local.create("object", data)
    with ObjectFile(local, local.info("object"), block_bytes=block_bytes, num_ahead=num_ahead) as file:
        assert file.read(10) == data[:10]
        assert file.read(5) == data[10:15]
        assert file.seek(-20, 2) == len(data) - 20
        assert file.read(100) == data[-20:]
        assert file.read() == b""
        file.seek(0)
        assert file.read() == data
        file.seek(300)
        assert (file.read(1), file.tell(), file.size()) == (data[300:301], 301, len(data))


def test_an_object_exchanged_while_it_is_read_is_an_error(local: Store) -> None:
    """Half of one object and half of another are never given as one."""
    table = pa.table({"x": list(range(10_000))})
    replace_any(local, "object", parquet(table))
    with ExitStack() as stack:
        file = stack.enter_context(opened_parquet(local, "object", block_bytes=1000, num_ahead=0))
        replace_any(local, "object", parquet(table.slice(1)))
        with pytest.raises(InputError):
            file.read()
