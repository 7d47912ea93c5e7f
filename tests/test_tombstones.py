"""Tombstones: what is written down of documents that were taken out, and by what a unit knows them again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taken_made import SCHEMA, hash_of, key_of, stone, table_of

from operators.kernels.hashing import hash_bytes
from pipelines.config import load
from pipelines.errors import ConfigError, InputChanged, InputError
from pipelines.identity import uri_prefix
from pipelines.ledger import READER, Ledger
from pipelines.rows import DropTable, Rows, UnitFiles
from pipelines.settings import RESERVED_NAME
from pipelines.storage import open_store
from pipelines.taken_out import LeavingOut, planned_tombstones
from pipelines.tombstones import (
    FOLDER,
    TAKEDOWN,
    TOMBSTONES,
    Tombstones,
    add_tombstones,
    content_hashes,
    load_tombstones,
    plan_digest,
    takedown_name,
    takedown_settings,
    tombstones_of,
)

pytestmark = pytest.mark.usefixtures("no_fsync")

FILES = ("/in/a.parquet", "/in/b.parquet", "/in/c.parquet")
TEXTS = ("", "one", "two", "three", "ein\0s", "文", "one ", "x" * 40)
STONES = st.lists(
    st.builds(
        lambda uri, row, etag, text, output: stone(key_of(uri, row), etag, text, output),
        st.sampled_from(FILES),
        st.sampled_from([0, 1, 2, 3, 255, 256, 1 << 40]),
        st.sampled_from([None, "e1", "e2"]),
        st.sampled_from([None, None, *TEXTS[:4]]),
        st.sampled_from([None, None, *TEXTS[3:]]),
    ),
    max_size=8,
)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"))


# --- the objects


def test_an_output_without_takedowns_has_no_tombstones(store):
    """Nothing is there, nothing is known again, and a plan says nothing of it."""
    found = load_tombstones(store)
    assert (len(found), bool(found), found.reference, found.paths) == (0, False, None, ())
    assert not found.recognise(pa.array(["one", "", None])).any()
    assert found.rows_of(uri_prefix(FILES[0]), "e1").tolist() == []


def test_each_takedown_adds_an_object_under_the_next_number(store):
    """The number of objects grows by one each time, and all of them count."""
    first = add_tombstones(store, table_of([stone(key_of(FILES[0], 3), "e1", "one")]))
    second = add_tombstones(store, table_of([stone(key_of(FILES[1], 4), None, None, "two")]))
    assert [first, second] == [f"{FOLDER}/t00001.arrow", f"{FOLDER}/t00002.arrow"] == tombstones_of(store)
    found = load_tombstones(store)
    assert len(found) == 2
    assert found.recognise(pa.array(["one", "two", "three"])).tolist() == [True, True, False]
    assert found.reference is not None
    assert (found.reference.paths, found.reference.documents) == ((first, second), 2)


def test_the_same_rows_again_make_no_other_object(store):
    """A takedown that was killed after it wrote its tombstones finds them, in whatever order it gives the rows."""
    rows = [stone(key_of(uri, row), "e1", f"{uri} {row}") for uri in FILES for row in range(9)]
    path = add_tombstones(store, table_of(rows))
    assert add_tombstones(store, table_of(rows[::-1])) == path
    assert add_tombstones(store, pa.concat_tables([table_of(rows[4:]), table_of(rows)])) == path
    assert len(tombstones_of(store)) == 1


def test_of_two_that_add_at_once_each_gets_an_object(store, monkeypatch):
    """Who finds the next number taken takes the one after it."""
    other = open_store(store.uri)
    inner, added = store.create, []

    def create(path, data):
        if not added:
            added.append(add_tombstones(other, table_of([stone(key_of(FILES[1], 1))])))
        return inner(path, data)

    monkeypatch.setattr(store, "create", create)
    assert add_tombstones(store, table_of([stone(key_of(FILES[0], 1))])) == f"{FOLDER}/t00002.arrow"
    assert added == [f"{FOLDER}/t00001.arrow"]
    assert len(load_tombstones(store)) == 2


@given(rows=STONES.filter(len), cut=st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_the_digest_is_of_what_they_say_however_it_is_spread(tmp_path_factory, rows, cut):
    """One object or two, with rows repeated or not: the same tombstones, the same digest; one more place gives another."""
    one, two = (open_store(str(tmp_path_factory.mktemp("store"))) for _ in range(2))
    add_tombstones(one, table_of(rows))
    for some in (rows[cut:], rows[: cut + 1]):
        if some:
            add_tombstones(two, table_of(some))
    assert load_tombstones(one).digest == load_tombstones(two).digest
    add_tombstones(two, table_of([stone(key_of("/elsewhere", 0))]))
    assert load_tombstones(one).digest != load_tombstones(two).digest


@pytest.mark.parametrize(
    "change",
    [{"doc_key": key_of(FILES[0], 2)}, {"etag": "e2"}, {"etag": None}, {"content_hash": hash_of("two")}, {"output_hash": hash_of("two")}],
    ids=["doc_key", "etag", "any etag", "content", "output"],
)
def test_the_digest_knows_every_column(tmp_path, change):
    """A change of any value is a change of what is left out, so that a plan is another."""
    row = stone(key_of(FILES[0], 1), "e1", "one", "three")
    digests = []
    for name, rows in (("one", [row]), ("two", [row | change])):
        add_tombstones(open_store(str(tmp_path / name)), table_of(rows))
        digests.append(load_tombstones(open_store(str(tmp_path / name))).digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (table_of([]), "found 0 rows"),
        (pa.table({"doc_key": pa.array([b"k" * 16], pa.binary(16))}), "found 1 rows with the columns doc_key; expected"),
        (table_of([stone(b"k" * 16)]).set_column(0, "doc_key", pa.nulls(1, pa.binary(16))), "1 rows have no doc_key"),
    ],
    ids=["none", "columns", "null key"],
)
def test_what_is_no_tombstone_is_refused(store, table, message):
    """Nothing is written, and the error says what was found and expected."""
    with pytest.raises(InputError, match=message):
        add_tombstones(store, table)
    assert tombstones_of(store) == []


def test_a_damaged_object_is_an_error_and_never_fewer_tombstones(store):
    """Whichever byte is changed, the object says the same or is refused, with its path and what to do."""
    path = Path(store.uri, add_tombstones(store, table_of([stone(key_of(FILES[0], row), "e1", "one", "two") for row in range(3)])))
    digest, whole = load_tombstones(store).digest, path.read_bytes()
    path.chmod(0o644)
    refused = 0
    for position in [*range(0, len(whole), 7), *range(len(whole) // 2, len(whole) // 2 + 60)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        try:
            assert load_tombstones(store).digest == digest
        except InputError:
            refused += 1
    assert refused > 20
    for left in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:left])
        with pytest.raises(InputError, match=rf"{FOLDER}/t00001\.arrow cannot be read.*restore it from a copy"):
            load_tombstones(store)


# --- by what a document is known again


@given(st.lists(st.one_of(st.none(), st.text()), max_size=20), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_hash_is_that_of_the_bytes_and_nothing_is_known_by_no_text(found, skip):
    """Equal texts have equal hashes in every layout and slice; null and empty ones have none."""
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        values = pa.array(found, kind)[min(skip, len(found)) :]
        hashes = content_hashes(values).to_pylist()
        for text, value in zip(found[min(skip, len(found)) :], hashes, strict=True):
            first, second = (int(word[0]) for word in hash_bytes(pa.array([text or ""], pa.large_string())))
            assert value == (first.to_bytes(8, "big") + second.to_bytes(8, "big") if text else None)


def _goes(rows: list[dict[str, Any]], uri: str, row: int, etag: str, text: str | None) -> bool:
    """The rule in plain words: the place, while the file is the one; or the text, wherever it is."""
    by_place = any(one["doc_key"] == key_of(uri, row) and one["etag"] in (None, etag) for one in rows)
    hashes = {one[name] for one in rows for name in ("content_hash", "output_hash")} - {None}
    return by_place or (bool(text) and hash_of(text) in hashes)


@given(
    rows=STONES,
    etags=st.tuples(*[st.sampled_from(["e1", "e2", "e3"])] * 3),
    places=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 3, 4, 255, 256, 1 << 40])), unique=True, max_size=20),
    draw=st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_a_unit_leaves_out_exactly_what_was_taken_out(tmp_path_factory, rows, etags, places, draw):
    """Whatever the tombstones: the same documents as by the plain rule, counted, and in the drop table without the input's columns."""
    store = open_store(str(tmp_path_factory.mktemp("store")))
    if rows:
        add_tombstones(store, table_of(rows))
    places = sorted(places)
    texts = [draw.choice([None, *TEXTS]) for _ in places]
    columns = [pa.array([f"i{n}" for n in range(len(places))], pa.string()), pa.array(texts, SCHEMA.field("text").type)]
    batch = pa.RecordBatch.from_arrays([*columns, pa.array(["s"] * len(places), pa.string())], schema=SCHEMA)
    inputs = [SimpleNamespace(uri=uri, etag=etag, row_groups=_NoGroups()) for uri, etag in zip(FILES, etags, strict=True)]
    files = UnitFiles(inputs, "id")
    found = Rows(batch, np.array([file for file, _ in places], np.int64), np.array([row for _, row in places], np.int64))
    table, ledger = DropTable(explained=False, carried=SCHEMA), Ledger()
    kept, gone = LeavingOut(load_tombstones(store), inputs, files, "text", table).process(found, ledger)
    expected = [_goes(rows, FILES[file], row, etags[file], text) for (file, row), text in zip(places, texts, strict=True)]
    assert kept.batch.column("id").to_pylist() == [f"i{n}" for n, goes in enumerate(expected) if not goes]
    told = [row for some in gone for row in some.to_pylist()]
    assert [row["id"] for row in told] == [f"i{n}" for n, goes in enumerate(expected) if goes]
    assert {(row["operator"], row["reason"], row["text"], row["secret"]) for row in told} <= {("takedown", "taken_down", None, None)}
    count = ledger.operator(TAKEDOWN)
    assert (count.rows_in, count.rows_out, count.dropped.total()) == (len(places), len(places) - sum(expected), sum(expected))


class _NoGroups(list[Any]):
    first = 0


def test_an_input_without_text_is_known_by_its_places_alone(store):
    """Where an operator makes the text of another column, or it is no text, documents are found by their doc_keys."""
    add_tombstones(store, table_of([stone(key_of(FILES[0], 1), "e1", "one")]))
    inputs = [SimpleNamespace(uri=FILES[0], etag="e1", row_groups=_NoGroups())]
    for column in (pa.array(["one", "b", "one"], pa.large_binary()), pa.array([1, 2, 3])):
        for name in ("text", "html"):
            batch = pa.RecordBatch.from_arrays([column], names=[name])
            rows = Rows(batch, np.zeros(3, np.int64), np.arange(3))
            leaving = LeavingOut(load_tombstones(store), inputs, UnitFiles(inputs, None), "text", DropTable(explained=True, carried=None))
            kept, _ = leaving.process(rows, Ledger())
            assert kept.row.tolist() == [0, 2]


def test_tombstones_that_are_not_those_of_the_plan_stop_a_worker(store):
    """A worker never leaves out less, or more, than the plan says."""
    add_tombstones(store, table_of([stone(key_of(FILES[0], 1))]))
    planned = load_tombstones(store).reference
    assert planned is not None
    assert planned_tombstones(store, None) is None
    assert isinstance(planned_tombstones(store, planned), Tombstones)
    with pytest.raises(InputChanged, match="were changed during the run"):
        planned_tombstones(store, dataclasses.replace(planned, digest="0" * 64))


# --- what a manifest says


def _manifest(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"operators": [{"name": "length_filter", "type": "length_filter", "settings": {}}, *entries]}


def _entry(**given: Any) -> dict[str, Any]:
    return {"name": "takedown", "type": TAKEDOWN, "settings": given}


@pytest.mark.parametrize(
    ("entries", "now", "expected"),
    [
        ([], "one", None),  # a run without tombstones, and documents taken out since
        ([{"documents": 1, "tombstones": "one"}], "one", ""),  # a takedown of such a run
        ([{"documents": 1, "tombstones": "one"}], "two", None),  # and others since
        ([{"num_tombstones": 1, "tombstones": "one"}], "one", "one"),  # a run that left them out
        ([{"num_tombstones": 1, "tombstones": "one"}], "two", None),
        ([{"num_tombstones": 1, "tombstones": "one"}, {"documents": 1, "tombstones": "two"}], "two", "one"),
        ([{"documents": 1, "tombstones": "one"}, {"documents": 1, "tombstones": "two"}], "two", ""),
        ([{"documents": 1, "tombstones": "one"}, {"documents": 1, "tombstones": "two"}], "one", None),
    ],
)
def test_a_version_counts_as_finished_only_while_it_is_free_of_all_that_was_taken_out(entries, now, expected):
    """The plan that it is compared with has the tombstones of its run; after a takedown that holds while nothing else is taken out."""
    assert plan_digest(_manifest(*(_entry(**entry) for entry in entries)), now) == expected


def test_a_takedown_says_what_it_did_under_a_name_of_its_own(store):
    """Its settings name no document; the second entry of a manifest is counted under a second name."""
    add_tombstones(store, table_of([stone(key_of(FILES[0], 1))]))
    found = load_tombstones(store)
    entry = _entry(**takedown_settings(1, "a" * 64, "asked for", found))
    assert entry["settings"] == {"documents": 1, "ids_sha256": "a" * 64, "reason": "asked for", "tombstones": found.digest}
    assert takedown_name(_manifest()["operators"]) == "takedown"
    assert takedown_name(_manifest(entry)["operators"]) == "takedown-2"
    assert takedown_name(_manifest(entry, entry)["operators"]) == "takedown-3"
    assert RESERVED_NAME.fullmatch("takedown")
    assert RESERVED_NAME.fullmatch("takedown-2")
    assert RESERVED_NAME.fullmatch(READER)
    assert json.loads(json.dumps(entry)) == entry


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("takedown", "documents that `shardmill takedown` took out"),
        ("takedown-17", "documents that"),
        ("read", "rows that could not be read"),
    ],
)
def test_no_operator_may_have_a_name_of_the_engine(tmp_path, name, whose):
    """The error names the line: what the operator drops could not be told from what is counted under that name."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "name: p\ninput: {uri: in/}\noperators:\n  - type: length_filter\n  - type: length_filter\n"
        f"    name: {name}\noutput: {{uri: out}}\n"
    )
    with pytest.raises(ConfigError, match=rf"p\.yaml:6: operators\[1\]: the name '{name}' is kept for {whose}"):
        load(path)
    path.write_text(path.read_text().replace(f"name: {name}\n", f"name: {name}s\n"))
    assert load(path).operators[1].name == f"{name}s"


def test_the_columns_of_tombstones_are_these():
    """Objects of earlier takedowns must be readable for ever."""
    assert str(TOMBSTONES.remove_metadata()).splitlines() == [
        "doc_key: fixed_size_binary[16] not null",
        "etag: string",
        "content_hash: fixed_size_binary[16]",
        "output_hash: fixed_size_binary[16]",
    ]
