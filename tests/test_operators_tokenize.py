"""Tokenization: the library's ids, in the narrowest column."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from operator_samples import ASSETS, TEXTS, FakeAssets, asset, documents, real_documents, small_tokenizer  # noqa: F401 -- a fixture

from operators.base import OperatorError, OperatorWarning
from operators.byte_level import byte_characters
from operators.library_encoder import SLICE_BYTES
from operators.tokenize import Tokenize


def tokenized(tokenizer, batch, **settings):
    return Tokenize(tokenizer=str(tokenizer), **settings).open(ASSETS)(batch).batch


@pytest.mark.parametrize("name", ["allenai_dolma2.json", "allenai_gpt-neox-olmo-dolma-v1_5.json"])
def test_ids_are_the_library_s(name):
    """On real documents the ids are those of the library's plain encode, special tokens in the text being text."""
    from tokenizers import Tokenizer

    path = asset(f"tokenizers/olmo/{name}")
    batch = real_documents("edge-00000", "multi-00000", "code-00000", limit=60)
    reference = Tokenizer.from_file(path)
    reference.encode_special_tokens = True
    result = tokenized(path, batch)
    texts = batch.column("text").to_pylist()
    expected = [reference.encode(text, add_special_tokens=False).ids for text in texts]
    assert result.column("input_ids").to_pylist() == expected
    assert result.column("num_tokens").to_pylist() == [len(ids) for ids in expected]


def test_ids_decode_to_the_text(small_tokenizer):  # noqa: F811
    """Nothing is lost, cut or padded, whatever the tokenizer's file says about truncation."""
    from tokenizers import Tokenizer

    batch = documents()
    ids = tokenized(small_tokenizer, batch).column("input_ids").to_pylist()
    decoded = [Tokenizer.from_file(str(small_tokenizer)).decode(each, skip_special_tokens=False) for each in ids]
    assert decoded == batch.column("text").to_pylist()


def test_a_document_cannot_write_a_special_token(small_tokenizer):  # noqa: F811
    """The id of the end of text appears only where the tokenizer itself puts it."""
    batch = pa.record_batch({"text": ["<|endoftext|>", "a<|endoftext|>b", ""]})
    plain = tokenized(small_tokenizer, batch).column("input_ids").to_pylist()
    assert all(0 not in ids for ids in plain)
    framed = tokenized(small_tokenizer, batch, add_special_tokens=True)
    assert framed.column("input_ids").to_pylist() == [[0, *ids] for ids in plain]
    assert framed.column("num_tokens").to_pylist() == [1 + len(ids) for ids in plain]


def test_ids_take_the_narrowest_type_that_holds_the_vocabulary(small_tokenizer, tmp_path):  # noqa: F811
    """Up to 65,536 entries are uint16, one more is uint32."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    assert tokenized(small_tokenizer, documents()).schema.field("input_ids").type == pa.large_list(pa.uint16())
    for size, kind in ((1 << 16, pa.uint16()), ((1 << 16) + 1, pa.uint32())):
        path = tmp_path / f"{size}.json"
        Tokenizer(WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0")).save(str(path))
        with pytest.warns(OperatorWarning, match="a pre-tokenizer that does not end in ByteLevel"):
            result = tokenized(path, pa.record_batch({"text": [f"w{size - 1}"]}))
        assert result.schema.field("input_ids").type == pa.large_list(kind)
        assert result.column("input_ids").to_pylist() == [[size - 1]]


def test_slices_do_not_show(small_tokenizer):  # noqa: F811
    """Batches above the size of a slice, with documents around it, are put together again."""
    sizes = [10, SLICE_BYTES // 2, SLICE_BYTES // 2, SLICE_BYTES + 5, 0, 3, SLICE_BYTES]
    texts = [None if size == 3 else ("ab " * (size // 3 + 1))[:size] for size in sizes]
    whole = tokenized(small_tokenizer, pa.record_batch({"text": texts}), engine="tokenizers")
    apart = [tokenized(small_tokenizer, pa.record_batch({"text": pa.array([text], pa.string())}), engine="tokenizers") for text in texts]
    assert whole.column("input_ids").equals(pa.concat_arrays([each.column("input_ids") for each in apart]))
    assert whole.column("num_tokens").equals(pa.concat_arrays([each.column("num_tokens") for each in apart]))
    assert whole.column("num_tokens")[5].as_py() is None


def test_what_is_fetched_follows_from_the_setting(tmp_path, small_tokenizer):  # noqa: F811
    """Paths, folders and URLs are what they are; anything else is a model on the Hub."""
    assert Tokenize(tokenizer=str(small_tokenizer)).asset_uris() == (str(small_tokenizer),)
    assert Tokenize(tokenizer=str(small_tokenizer.parent)).asset_uris() == (str(small_tokenizer),)
    assert Tokenize(tokenizer="s3://models/t.json").asset_uris() == ("s3://models/t.json",)
    assert Tokenize(tokenizer="missing/tokenizer.json").asset_uris() == ("missing/tokenizer.json",)
    assert Tokenize(tokenizer="org/model").asset_uris() == ("hf://org/model/tokenizer.json",)


def test_a_fetched_tokenizer_is_read_from_where_it_lies(small_tokenizer):  # noqa: F811
    """The operator reads what the worker fetched, not the name in the settings."""
    moved = FakeAssets(moved={"hf://org/model/tokenizer.json": str(small_tokenizer)})
    batch = documents()
    assert Tokenize(tokenizer="org/model").open(moved)(batch).batch.equals(tokenized(small_tokenizer, batch))


def test_files_that_are_no_tokenizer_are_one_clear_error(tmp_path: Path):
    """Missing, empty, truncated and foreign files are told with what was expected."""
    for name, content in {"empty.json": "", "cut.json": '{"version": "1.0", "model": {', "other.json": '{"a": 1}'}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(OperatorError, match=rf"{name}.*cannot be read"):
            Tokenize(tokenizer=str(tmp_path / name)).open(ASSETS)
    with pytest.raises(OperatorError, match="there is no file"):
        Tokenize(tokenizer=str(tmp_path / "absent.json")).open(ASSETS)


def changed(path: Path, target: Path, **parts) -> Path:
    """The tokenizer with other parts."""
    target.write_text(json.dumps(json.loads(Path(path).read_text()) | parts))
    return target


def test_a_rule_that_the_kernels_do_not_know_is_named(small_tokenizer, tmp_path):  # noqa: F811
    """The library does what the kernels cannot, with the same columns, and a warning says which rule it was."""
    lower = changed(small_tokenizer, tmp_path / "lower.json", normalizer={"type": "Lowercase"})
    with pytest.warns(OperatorWarning, match=r"lower.json.*goes through the tokenizers library.*do not know the normalizer Lowercase"):
        found = tokenized(lower, documents())
    assert found.schema == tokenized(small_tokenizer, documents()).schema
    split = {"type": "Split", "pattern": {"Regex": "(?<=a)b|."}, "behavior": "Isolated", "invert": False}
    behind = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    steps = {"type": "Sequence", "pretokenizers": [split, behind]}
    with pytest.warns(OperatorWarning, match=r"the pattern of a Split, which has lookbehind \(\?<="):
        tokenized(changed(small_tokenizer, tmp_path / "behind.json", pre_tokenizer=steps), documents())


def test_kernels_that_give_other_ids_are_not_used(small_tokenizer, monkeypatch):  # noqa: F811
    """Whatever is wrong with the kernels or the reading of the file, the comparison at the start finds it, and the library goes on."""
    expected = tokenized(small_tokenizer, documents())
    with monkeypatch.context() as patched:
        patched.setattr("operators.byte_level.byte_characters", lambda: [*byte_characters()[1:], byte_characters()[0]])
        with pytest.warns(OperatorWarning, match="the kernels gave other ids than the library for .*; please report it"):
            assert tokenized(small_tokenizer, documents()).equals(expected)


def test_the_library_can_be_asked_for(small_tokenizer):  # noqa: F811
    """`engine: tokenizers` gives the same, without a word."""
    assert tokenized(small_tokenizer, documents(), engine="tokenizers").equals(tokenized(small_tokenizer, documents()))


@pytest.mark.parametrize("engine", ["auto", "tokenizers"])
def test_an_end_token_is_put_behind_each_document(small_tokenizer, engine):  # noqa: F811
    """It is the last id of every document, an empty one too, behind what the tokenizer puts there itself; a null has none."""
    batch = pa.record_batch({"text": ["a b", "", None, "<|endoftext|>"]})
    plain = tokenized(small_tokenizer, batch, add_special_tokens=True, engine=engine).column("input_ids").to_pylist()
    ended = tokenized(small_tokenizer, batch, add_special_tokens=True, engine=engine, append="<|endoftext|>")
    assert ended.column("input_ids").to_pylist() == [None if ids is None else [*ids, 0] for ids in plain]
    assert ended.column("num_tokens").to_pylist() == [None if ids is None else len(ids) + 1 for ids in plain]


def test_an_end_token_must_be_in_the_vocabulary(small_tokenizer):  # noqa: F811
    """Another is refused, and the ones that were added are named."""
    with pytest.raises(OperatorError, match=r"append '</s>' is not in the vocabulary of .*added to it: '<\|endoftext\|>'"):
        tokenized(small_tokenizer, documents(), append="</s>")


@pytest.mark.parametrize("engine", ["auto", "tokenizers"])
def test_special_tokens_can_be_control(small_tokenizer, engine):  # noqa: F811
    """Only if it is asked for does a special token's text become the token."""
    batch = pa.record_batch({"text": ["<|endoftext|>", "a<|endoftext|><|endoftext|>b"]})
    ids = tokenized(small_tokenizer, batch, special_tokens="control", engine=engine).column("input_ids").to_pylist()
    assert ids[0] == [0]
    assert ids[1][1:-1] == [0, 0]


def test_ids_must_fit_the_type_that_is_asked_for(small_tokenizer, tmp_path):  # noqa: F811
    """Any type that holds the vocabulary may be chosen; a smaller one is refused before there is a document."""
    from tokenizers import AddedToken, Tokenizer

    assert tokenized(small_tokenizer, documents(), id_type="int32").schema.field("input_ids").type == pa.large_list(pa.int32())
    large = Tokenizer.from_file(str(small_tokenizer))
    large.add_tokens([AddedToken(f"<{number}>") for number in range(1 << 16)])
    large.save(str(tmp_path / "large.json"))
    with pytest.raises(OperatorError, match=r"ids up to 65935, and id_type uint16 holds none above 65535; set id_type to uint32"):
        tokenized(tmp_path / "large.json", documents(), id_type="uint16")


def test_a_panic_of_the_library_is_a_row_s_error(small_tokenizer, tmp_path):  # noqa: F811
    """What the library cannot match ends no run: an ordinary exception, which is a document's own affair."""
    step = {"type": "Split", "pattern": {"Regex": r"(?:(?:a|aa)+)+(?<=b)c"}, "behavior": "Isolated", "invert": False}
    behind = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    path = changed(small_tokenizer, tmp_path / "slow.json", pre_tokenizer={"type": "Sequence", "pretokenizers": [step, behind]})
    function = Tokenize(tokenizer=str(path), engine="tokenizers").open(ASSETS)
    with pytest.raises(RuntimeError, match=r"tokenizers: .*retry-limit"):
        function(pa.record_batch({"text": ["a" * 60]}))
    assert function(pa.record_batch({"text": ["ab"]})).batch.column("num_tokens").to_pylist() == [2]


PLAIN = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def library_ids(path: Path, texts: list[str], *, control: bool = False) -> list[list[int]]:
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(path))
    reference.encode_special_tokens = not control
    reference.no_truncation()
    reference.no_padding()
    return [reference.encode(text, add_special_tokens=False).ids for text in texts]


def test_normalizing_makes_no_added_token(small_tokenizer, tmp_path):  # noqa: F811
    """A token that is looked for in the text as it is, is not found where only its normal form stands; a control token least of all."""
    from tokenizers import AddedToken, Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(small_tokenizer))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken("‹ü›", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<K>", special=True, normalized=False)])
    path = tmp_path / "composed.json"
    tokenizer.save(str(path))
    texts = ["a‹u\u0308›b", "a‹ü›b", "<\u212a>", "<K>", "‹ü› and ‹u\u0308›"]
    for control in (False, True):
        batch = pa.record_batch({"text": texts})
        found = tokenized(path, batch, special_tokens="control" if control else "text").column("input_ids").to_pylist()
        assert found == library_ids(path, texts, control=control)


def test_ids_of_a_post_processor_count(small_tokenizer, tmp_path):  # noqa: F811
    """What is put around a text need not be in the vocabulary: its ids widen the type, or are refused, never cut."""
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(small_tokenizer))
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 70_000)])
    path = tmp_path / "template.json"
    tokenizer.save(str(path))
    batch = pa.record_batch({"text": ["a"]})
    assert tokenized(path, batch).schema.field("input_ids").type == pa.large_list(pa.uint16())
    assert tokenized(path, batch, add_special_tokens=True).column("input_ids").to_pylist()[0][0] == 70_000
    far = changed(path, tmp_path / "far.json", post_processor=json.loads(path.read_text().replace("70000", "3000000000"))["post_processor"])
    assert tokenized(far, batch, add_special_tokens=True).column("input_ids").to_pylist()[0][0] == 3_000_000_000
    with pytest.raises(OperatorError, match="ids up to 3000000000"):
        tokenized(far, batch, add_special_tokens=True, id_type="int32")
    with pytest.raises(OperatorError, match="ids up to 70000"):
        tokenized(path, batch, add_special_tokens=True, id_type="uint16")


def test_lines_of_merges_that_look_like_a_header_are_left_out(small_tokenizer, tmp_path):  # noqa: F811
    """As the library leaves them out of lists of strings, first or not; ranks behind them move up."""
    model = json.loads(Path(small_tokenizer).read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    header = ["#version: 0.2", *merges[:2], "#version \u0120", *merges[2:]]
    vocab = model["vocab"] | {"#version": 5000, "#version\u0120": 5001}
    path = changed(small_tokenizer, tmp_path / "old.json", model=model | {"vocab": vocab, "merges": header}, pre_tokenizer=PLAIN)
    texts = ["#version 330", *TEXTS]
    assert tokenized(path, pa.record_batch({"text": texts})).column("input_ids").to_pylist() == library_ids(path, texts)


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}] * 9 + [PLAIN]}},
            "8 steps",
        ),
        ({"normalizer": {"type": "NFC", "since": 2030}}, "the key since of NFC"),
        ({"pre_tokenizer": PLAIN | {"since": 2030}}, "the key since of ByteLevel"),
    ],
)
def test_what_nobody_has_heard_of_goes_through_the_library(small_tokenizer, tmp_path, parts, rule):  # noqa: F811
    """More steps than there is room for, and keys of a version to come, are named, not passed over."""
    path = changed(small_tokenizer, tmp_path / "odd.json", **parts)
    with pytest.warns(OperatorWarning, match=rule):
        found = tokenized(path, documents())
    assert found.column("input_ids").to_pylist() == library_ids(path, documents().column("text").to_pylist())


@pytest.mark.parametrize("engine", ["auto", "tokenizers"])
def test_dropout_is_off(small_tokenizer, tmp_path, engine):  # noqa: F811
    """A file that asks for it gives the ids of one that does not, each time: a retry may not give others."""
    model = json.loads(Path(small_tokenizer).read_text())["model"]
    path = changed(small_tokenizer, tmp_path / "dropout.json", model=model | {"dropout": 0.5})
    assert tokenized(path, documents(), engine=engine).equals(tokenized(small_tokenizer, documents()))


def test_a_document_that_is_not_taken_needs_no_room(small_tokenizer):  # noqa: F811
    """Room is made for what is tokenized, not for what is quarantined, which may be longer than any memory."""
    function = Tokenize(tokenizer=str(small_tokenizer)).open(ASSETS)
    text = pa.array([b"a" * 50_000_000 + b"\xff", b"b"], pa.large_binary()).view(pa.large_string())
    function(pa.record_batch({"text": ["b"]}))
    tracemalloc.start()
    result = function(pa.record_batch({"text": text}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [error.error for error in result.errors.values()] == ["invalid_utf8"]
    assert peak < 5_000_000
