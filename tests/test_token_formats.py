"""Token shards are byte for byte what datatrove's own writers make, in an order that anyone can compute again."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokens_made import SplitMix64, order

from pipelines import token_formats, token_ids, token_shards, verify_token_shards
from pipelines.errors import UnitError
from pipelines.storage import open_store
from pipelines.token_formats import beside, metric, token_path
from pipelines.token_ids import Ids, read_ids
from pipelines.token_order import token_order
from pipelines.token_shards import tokens_in

SEEDS = st.integers(0, 2**63 - 1)
LISTS = st.lists(st.lists(st.integers(0, 2**16 - 1), max_size=9), max_size=40)


def ids_of(lists, dtype=np.uint16):
    lengths = [len(each) for each in lists]
    return Ids(np.array(list(itertools.chain(*lists)), dtype), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def content(ids, order, form, suffix, tokenizer="gpt2"):
    """A file of a token shard as the task writes it."""
    if suffix == token_formats.DATA[form]:
        return b"".join(bytes(piece) for piece in tokens_in(ids, order))
    return b"".join(beside(form, suffix, ids.lengths[order], ids.tokens.itemsize, tokenizer))


# --- order


@settings(deadline=None)
@given(SEEDS, st.integers(0, 30), st.integers(0, 200))
def test_the_order_is_the_documented_one(seed, shard, rows):
    """Both implementations, the one that writes and the one that verifies, give what the words say."""
    expected = order(seed, shard, rows)
    assert token_order(seed, shard, rows).tolist() == expected
    positions = verify_token_shards.positions(seed, f"data/v1/language=en/part-{shard:05d}-0123abcd.parquet", rows)
    assert [int(positions[row]) for row in expected] == list(range(rows))


def test_the_order_never_changes():
    """Versions of years ago are verified with it: the generator's published numbers, and an order that was written down."""
    generator = SplitMix64(1234567)
    assert [generator.next() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert token_order(0, 0, 12).tolist() == order(0, 0, 12) == [11, 5, 7, 8, 2, 10, 9, 0, 3, 1, 6, 4]


def test_without_a_seed_the_order_is_the_shard_s():
    """Not shuffled: position by position."""
    assert token_order(None, 3, 5).tolist() == [0, 1, 2, 3, 4]
    assert verify_token_shards.positions(None, "data/v1/part-00003-0123abcd.parquet", 5).tolist() == [0, 1, 2, 3, 4]


def test_shards_and_seeds_have_orders_of_their_own():
    """Equal shards are not shuffled alike."""
    drawn = {tuple(token_order(seed, shard, 50).tolist()) for seed in range(5) for shard in range(5)}
    assert len(drawn) == 25


# --- bytes


@pytest.mark.parametrize("width", [2, 4])
@settings(deadline=None, max_examples=40)
@given(lists=LISTS)
@example(lists=[])
@example(lists=[[], [], []])
def test_datatrove_s_files_are_datatrove_s(tmp_path_factory, width, lists):
    """Tokens, index and metadata are those of the TokenizedFile that DocumentTokenizer writes with."""
    tokenizer = pytest.importorskip("datatrove.pipeline.tokens.tokenizer", reason="datatrove is an extra")
    folder = tmp_path_factory.mktemp("datatrove")
    peer = tokenizer.TokenizedFile(str(folder), "a.ds", tokenizer_name_or_path="gpt2", save_final_metadata=True, token_size=width)
    for tokens in lists:
        peer.write(tokens, None)
    peer.close()
    ids = ids_of(lists, np.uint16 if width == 2 else np.uint32)
    for suffix in (".ds", ".ds.index", ".ds.metadata"):
        assert content(ids, np.arange(len(lists)), "datatrove", suffix) == (folder / f"a{suffix}").read_bytes()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32])
@settings(deadline=None, max_examples=40)
@given(lists=LISTS)
@example(lists=[])
@example(lists=[[], [7], []])
def test_megatron_s_files_are_datatrove_s_megatron_writer_s(tmp_path_factory, dtype, lists):
    """Tokens and index are those of MegatronTokenizedFile."""
    tokenizer = pytest.importorskip("datatrove.pipeline.tokens.megatron_tokenizer", reason="datatrove is an extra")
    folder = tmp_path_factory.mktemp("megatron")
    peer = tokenizer.MegatronTokenizedFile(str(folder), "a", token_size=np.dtype(dtype).itemsize)
    for tokens in lists:
        peer.write(tokens)
    peer.close()
    for suffix in (".bin", ".idx"):
        assert content(ids_of(lists, dtype), np.arange(len(lists)), "megatron", suffix) == (folder / f"a{suffix}").read_bytes()


@settings(deadline=None)
@given(LISTS, st.integers(2, 40), st.integers(1, 7), st.randoms())
def test_pieces_do_not_show(lists, chunk_bytes, chunk_documents, draw):
    """However little is copied at once, and whichever document is larger than that, the bytes are those of the documents in their order."""
    draw_order = list(range(len(lists)))
    draw.shuffle(draw_order)
    ids, wanted = ids_of(lists), np.array(draw_order, np.int64)
    whole = [content(ids, wanted, form, suffix) for form in ("megatron", "datatrove") for suffix in token_formats.SUFFIXES[form]]
    assert whole[0] == whole[2] == b"".join(np.array(lists[row], "<u2").tobytes() for row in draw_order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_shards, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(token_formats, "CHUNK", chunk_documents)
        pieces = [content(ids, wanted, form, suffix) for form in ("megatron", "datatrove") for suffix in token_formats.SUFFIXES[form]]
    assert pieces == whole


@given(st.integers(0, 10**15) | st.integers(0, 14).map(lambda power: 10**power) | st.integers(1, 14).map(lambda power: 10**power - 1))
def test_amounts_are_humanize_s(tokens):
    """The last line of the metadata is what datatrove has humanize write."""
    humanize = pytest.importorskip("humanize", reason="humanize comes with datatrove")
    assert metric(tokens) == humanize.metric(tokens, unit="T")


def test_a_tokenizer_s_name_can_be_read_back():
    """datatrove's merger splits the metadata's first line at '|': a name has none, and there always is one."""
    for name, shown in (("org/model", "org/model"), ("a|b\nc", "a_b c"), (None, "Unknown Tokenizer")):
        first = content(ids_of([[1]]), np.arange(1), "datatrove", ".ds.metadata", name).decode().split("\n")[0]
        assert first.split("|") == [shown, "2"]


def test_a_token_shard_lies_as_its_shard_does():
    """Folders of many shards and of partitions are kept, below the format."""
    assert (
        token_path("data/v2/1/language=en/part-05001-ab.parquet", "megatron", ".idx")
        == "tokens/v2/megatron/1/language=en/part-05001-ab.idx"
    )


def test_a_format_has_no_other_files():
    """A suffix that is not the format's is a mistake of the caller."""
    with pytest.raises(ValueError, match="has no file"):
        list(beside("megatron", ".ds.index", np.zeros(0, np.int32), 2, None))


# --- ids


def written(tmp_path, column, group=3):
    table = pa.table({"id": [str(row) for row in range(len(column))], "input_ids": column})
    pq.write_table(table, tmp_path / "shard.parquet", row_group_size=group)
    return open_store(str(tmp_path)), "shard.parquet"


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
@pytest.mark.parametrize("value", [pa.uint16(), pa.uint32(), pa.int32()])
@settings(deadline=None, max_examples=15)
@given(
    lists=st.lists(st.none() | st.lists(st.integers(0, 2**16 - 1), max_size=5), max_size=12), batch_tokens=st.sampled_from([1, 7, 1 << 20])
)
@example(lists=[[1, 2], None, [3], [], [4, 5, 6], [7]], batch_tokens=1)
def test_ids_are_read_as_they_are(tmp_path_factory, kind, value, lists, batch_tokens):
    """Empty lists, null lists, row groups and batches: each document has its own ids, one without a list none."""
    store, path = written(tmp_path_factory.mktemp("ids"), pa.array(lists, kind(value)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_ids, "BATCH_TOKENS", batch_tokens)
        ids = read_ids(store, path)
    assert ids.tokens.dtype == value.to_pandas_dtype()
    assert len(ids.starts) == len(lists) + 1
    assert [ids.tokens[start:stop].tolist() for start, stop in itertools.pairwise(ids.starts)] == [each or [] for each in lists]


@pytest.mark.parametrize(
    ("lists", "kind", "words"),
    [
        ([[1, -2]], pa.int32(), "found the token id -2, expected 0 to 2147483647"),
        ([[1], [2**31]], pa.uint32(), "found the token id 2147483648"),
        ([[1], [None]], pa.uint16(), "found a null among the ids"),
        ([[1.5]], pa.float32(), "has no ids; expected lists of uint16, uint32, int32"),
    ],
)
def test_what_is_no_token_is_refused(tmp_path, lists, kind, words):
    """Negative ids, ids beyond 31 bits and nulls would be other tokens, or none, for a trainer."""
    store, path = written(tmp_path, pa.array(lists, pa.list_(kind)))
    with pytest.raises(UnitError, match=words):
        read_ids(store, path)
