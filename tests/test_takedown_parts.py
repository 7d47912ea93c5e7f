"""The parts of a takedown, each against a few lines of plain Python: files of ids, rows and their ranks, patterns of shards."""

from __future__ import annotations

import fnmatch
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from takedowns import corpus, made

from pipelines import identity, shard_globs, takedown_input, takedown_places
from pipelines.errors import ConfigError
from pipelines.recall import key_bytes
from pipelines.shard_globs import data_patterns
from pipelines.storage import open_store
from pipelines.takedown_base import Base
from pipelines.takedown_ids import read_wanted, wanted_of
from pipelines.takedown_input import InputRows
from pipelines.takedown_places import Places
from pipelines.takedown_rewrite import new_paths

KEY = "00112233445566778899aabbccddeeff"


# --- files of ids


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", b"\xef\xbb\xbf# withdrawn\r\nb 1#x\r\n\r\n  a\n" + KEY.upper().encode() + b"\na\n7\n"),
        ("ids", b"a\nb 1#x\n7\n" + KEY.upper().encode()),
        ("ids.jsonl", f'"a"\n{{"id": "b 1#x"}}\n\n7\n{{"doc_key": "{KEY.upper()}", "why": "asked"}}\n'.encode()),
        ("ids.csv", f"why,id\nasked,a\n,b 1#x\n,7\n,{KEY.upper()}\n".encode()),
    ],
)
def test_files_of_ids(tmp_path, name, content):
    """Each id once, sorted; a `#` inside one is part of it; keys are known in any case of their digits."""
    file = tmp_path / name
    file.write_bytes(content)
    wanted = read_wanted(file)
    assert wanted.names.to_pylist() == sorted(["a", "b 1#x", "7", KEY.upper()])
    assert wanted.keys.tolist() == [bytes.fromhex(KEY)]
    assert wanted.of_keys(wanted.keys).tolist() == [wanted.names.to_pylist().index(KEY.upper())]
    assert wanted.sha256 == wanted_of(["7", "a", KEY.upper(), "b 1#x", "a"]).sha256 != wanted_of(["a"]).sha256


def test_a_column_of_ids(tmp_path):
    """A Parquet file's column `id`, of numbers too; nulls are none."""
    pq.write_table(pa.table({"text": ["x", "y", "z"], "id": [7, None, 12]}), tmp_path / "ids.parquet")
    assert read_wanted(tmp_path / "ids.parquet").names.to_pylist() == ["12", "7"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.txt", b"# nothing\n\n", "there is no id in it"),
        ("ids.txt", b"a\n\xff\n", r"ids.txt:2: this line is no id: it is not UTF-8"),
        ("ids.jsonl", b'"a"\n{"name": 1}\n[', r"(?s)ids.jsonl:2: .*expected a text.*ids.jsonl:3: .*no JSON"),
        ("ids.csv", b"a,b\n1,2\n", "expected a column `id` or `doc_key`"),
        ("ids.csv", b"id,id\n1,2\n", "expected a column `id` or `doc_key`"),
        ("ids.parquet", b"nonsense", "cannot be read as parquet"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, message):
    """The line is named, and what was expected."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_wanted(tmp_path / name)


def test_many_lines_that_are_none(tmp_path):
    """The message is bounded."""
    (tmp_path / "ids.jsonl").write_bytes(b"[\n" * 500)
    with pytest.raises(ConfigError, match="this and 479 more lines") as raised:
        read_wanted(tmp_path / "ids.jsonl")
    assert len(raised.value.problems) == 21


# --- places


class Listed:
    """An inventory of files with so many rows each."""

    def __init__(self, rows):
        self.group_rows = np.array(rows, np.int64)
        self.file_first_group = np.arange(len(rows) + 1)
        self.num_files = len(rows)

    def identity(self, ordinal):
        return f"/f{ordinal}", "etag"

    def prefixes(self):
        return b"".join(identity.uri_prefix(f"/f{ordinal}") for ordinal in range(self.num_files))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.sets(st.integers(0, 71)),
    st.sampled_from([1, 3, 1 << 20]),
    st.sampled_from([1, 4, 99]),
    st.randoms(),
)
def test_rows_of_the_input_and_of_the_shards(rows, lost, buckets, most, draw):
    """The k-th row that is not lost is the k-th row of the shards, however the lost ones are ordered and cut."""
    total = sum(rows)
    gone = [number for number in lost if number < total]
    draw.shuffle(gone)
    kept = [number for number in range(total) if number not in lost]
    plain = Places(Listed(rows), lambda: iter(()))
    pieces = [plain.keys_of(np.array(piece, np.int64)) for piece in (gone[::2], gone[1::2])]
    places = Places(Listed(rows), lambda: iter(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(takedown_places, "NUM_BUCKETS", buckets)
        patch.setattr(takedown_places, "MAX_LOST", most)
        assert places.numbers_at(np.arange(len(kept))).tolist() == kept
        some = draw.sample(range(len(kept)), len(kept) // 2)
        assert places.numbers_at(np.array(some, np.int64)).tolist() == [kept[rank] for rank in some]
    numbers = np.array(draw.sample(range(total), total), np.int64)
    ranks, is_lost = places.ranks_of(numbers)
    assert is_lost.tolist() == [number in lost for number in numbers.tolist()]
    assert [rank for rank, number in zip(ranks.tolist(), numbers.tolist(), strict=True) if number not in lost] == [
        kept.index(number) for number in numbers.tolist() if number not in lost
    ]
    keys = key_bytes(places.keys_of(numbers))
    assert places.numbers_of(keys).tolist() == numbers.tolist()
    assert places.numbers_of(np.array([b"\xff" * 16, identity.uri_prefix("/f0") + b"\x7f" * 6], "S16")).tolist() == [-1, -1]


def test_a_million_ranks_at_once():
    """What it takes grows with the ranks, not with their square: each is in a range of rows of its own."""
    rows = 1 << 21
    lost = np.arange(0, rows, 2)
    plain = Places(Listed([rows]), lambda: iter(()))
    places = Places(Listed([rows]), lambda: iter([plain.keys_of(lost)]))
    started = time.process_time()
    assert (places.numbers_at(np.arange(rows // 2)) == np.arange(1, rows, 2)).all()
    assert time.process_time() - started < 20


# --- names


def matching(patterns, paths):
    """The paths that patterns match, a number and its folder taken apart: `**/` is any folders."""
    found = set()
    for path in paths:
        version, _, name = path.removeprefix("data/").partition("/")
        name = name.rpartition("/")[2]
        for pattern in patterns:
            head, _, last = pattern.rpartition("/")
            if pattern == path or (head == f"data/{version}/**" and fnmatch.fnmatchcase(name, last)):
                found.add(path)
    return found


@settings(max_examples=150, deadline=None)
@given(st.sets(st.integers(0, 130)), st.sets(st.integers(0, 130)), st.integers(0, 300), st.booleans())
def test_patterns_name_the_shards_that_are_left(first, second, many, is_wide):
    """They match the version's shards and none of the others that are there, and are few."""
    numbers = sorted(first) + [1000 + number for number in range(many)] + ([100_000, 123_456] if is_wide else [])
    every = [f"data/v1/{number % 3}/part-{number:05d}-aaaaaaaa.parquet" for number in numbers]
    kept = [path for path, number in zip(every, numbers, strict=True) if number not in second and number not in (1007, 123_456)]
    kept += [f"data/v2/part-{number:05d}-bbbbbbbb.parquet" for number in second]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_globs, "MAX_LISTED", 0)
        patterns = data_patterns(kept, [*every, *kept])
    assert matching(patterns, [*every, *kept]) == set(kept)
    assert len(patterns) <= len(kept)
    assert len(patterns) <= 5 * (len(set(every) - set(kept)) + 1) + 6


def test_few_shards_are_listed_in_their_order():
    """So that whoever reads by the card has the version's order; where nothing is to be left out, one pattern does."""
    paths = [f"data/v1/part-0000{number}-a.parquet" for number in range(4)]
    kept = [paths[0], "data/v2/part-00001-b.parquet", paths[3]]
    assert data_patterns(kept, paths) == kept
    assert data_patterns(paths, paths) == ["data/v1/**/*-a.parquet"]


def test_new_names_keep_folders_and_numbers():
    """Two shards of different versions with one number get different ones."""
    old = ["data/v1/lang=en/part-00003-aa.parquet", "data/v2/lang=en/part-00003-bb.parquet", "data/v1/1/part-05001-aa.parquet"]
    made = new_paths(old, "v3", "cc")
    assert made == ["data/v3/lang=en/part-00003-cc.parquet", "data/v3/lang=en/part-00004-cc.parquet", "data/v3/1/part-05001-cc.parquet"]
    assert json.dumps(new_paths(old, "v3", "cc")) == json.dumps(made)


# --- the input again


def test_texts_of_the_input_are_not_held(shm_path, monkeypatch):
    """What is told of each is, some rows at a time; a million texts would not fit."""
    monkeypatch.setattr(takedown_input, "BATCH_BYTES", 1)
    made(shm_path)
    rows = InputRows(Base.current(open_store(str(shm_path / "out"))))
    told = []
    lengths, places = rows.column("text", np.array([70, 3, 44]), lambda texts: told.append(len(texts)) or pc.binary_length(texts))
    texts = [corpus(60, "ab"[number // 60])[number % 60]["text"] for number in (70, 3, 44)]
    assert dict(zip(places.tolist(), lengths.to_pylist(), strict=True)) == dict(enumerate(map(len, texts)))
    assert max(told) == 1
