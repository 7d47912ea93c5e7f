"""Training a tokenizer: the same lessons give the same file everywhere, and any text comes back from it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, TEXTS, FakeAssets, asset, documents
from pydantic import ValidationError

from operators.base import Learned, OperatorError, OperatorWarning
from operators.length import LengthFilter
from operators.tokenize import Tokenize
from operators.train_tokenizer import END_OF_TEXT, PATTERNS, TrainTokenizer

LESSONS = [text for text in TEXTS if text]


def trained(texts=LESSONS, **settings):
    """What is learned from some texts, as the library loads it."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(learned(texts, **settings).decode())


def learned(texts=LESSONS, **settings):
    return TrainTokenizer(**{"vocab_size": 400, **settings}).learn(iter([pa.array(texts, pa.large_string())]))


@cache
def preset(pattern):
    return trained(pattern=pattern)


CODE = """
import hashlib, sys
sys.path.insert(0, "tests")
from test_train_tokenizer import learned, many
print(hashlib.sha256(learned(many(), vocab_size=600)).hexdigest())
"""


def many():
    """Texts whose pairs are often equally frequent, so that every choice among equals would show."""
    return [f"{a}{b}{c} {c}{a}{b}" for a in "abcdefghij" for b in "klmnopqrst" for c in ("uv", "wx", "yz", "ä", "文")]


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "TOKENIZERS_PARALLELISM": "false"},
        {"PYTHONHASHSEED": "2", "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"},
        {"PYTHONHASHSEED": "random", "RAYON_NUM_THREADS": "4"},
    ],
    ids=str,
)
def test_every_process_trains_the_same_bytes(environment):
    """Neither the process's hash seeds nor the number of threads that it may have shows in the file."""
    done = subprocess.run([sys.executable, "-c", CODE], env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hashlib.sha256(learned(many(), vocab_size=600)).hexdigest()


def test_threads_of_the_library_change_nothing(monkeypatch):
    """The library's own parallel way of counting, which the operator does not use, gives the same file."""
    from tokenizers import Tokenizer, trainers

    operator = TrainTokenizer(vocab_size=600)
    plain = operator.learn(iter([pa.array(many(), pa.large_string())]))
    from tokenizers import pre_tokenizers

    trainer = trainers.BpeTrainer(
        vocab_size=600,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    blank: Tokenizer = operator._untrained()
    blank.train_from_iterator(many(), trainer)
    assert blank.to_str().encode() == plain


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+|\W+", r"\d"])
def test_any_text_comes_back(pattern):
    """Whatever cuts the text, decoding its ids gives it again: every byte is in the vocabulary."""
    tokenizer = preset(pattern)

    @settings(max_examples=60, deadline=None)
    @given(st.text())
    def check(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text

    check()


def test_special_tokens_have_the_first_ids_then_come_bytes_then_merges():
    """Their ids do not depend on what was learned."""
    vocabulary = trained(special_tokens=["<a>", "<b>"], vocab_size=300).get_vocab()
    assert (vocabulary["<a>"], vocabulary["<b>"]) == (0, 1)
    assert sorted(number for token, number in vocabulary.items() if len(token) == 1) == list(range(2, 258))
    assert len(vocabulary) == 300 == 1 + max(vocabulary.values())


def test_a_vocabulary_is_as_large_as_asked_for_or_as_the_sample_allows():
    """Bytes alone where nothing more is asked for; of few texts no more merges than occur."""
    assert trained(vocab_size=257).get_vocab_size() == 257
    assert trained(["abcabc"] * 3, vocab_size=4000).get_vocab_size() < 270
    assert trained(special_tokens=[], vocab_size=256).get_vocab_size() == 256


def test_what_is_rare_is_not_merged():
    """Two tokens are merged only if they occur together as often as asked for."""
    texts = ["abab " * 9, "xy"]
    assert "xy" not in trained(texts, min_frequency=2, vocab_size=4000).get_vocab()
    assert "xy" in trained(texts, min_frequency=1, vocab_size=4000).get_vocab()


@pytest.mark.parametrize("most", [2, 3, 4, 5, 9, 17])
def test_tokens_have_a_longest_length_if_asked_for(most):
    """No token has more bytes than allowed, and some have as many."""
    texts = ["abcdefghijklmnopqrstuvwxyz " * 3, "xxxxxxxxxxxxxxxxxxxxxxxx", "ääääääääääää"] * 3
    bounded = trained(texts, max_token_length=most, vocab_size=4000).get_vocab()
    assert max(len(token) for token in bounded if token != END_OF_TEXT) == most
    assert max(len(token) for token in trained(texts, vocab_size=4000).get_vocab() if token != END_OF_TEXT) > 17


@pytest.mark.parametrize(
    ("pattern", "text", "pieces"),
    [
        ("gpt2", "I'm 12345, OK\n\n x", ["I", "'m", "Ġ12345", ",", "ĠOK", "ĊĊ", "Ġx"]),
        ("llama3", "I'M 12345, OK\n\n x", ["I", "'M", "Ġ", "123", "45", ",", "ĠOK", "ĊĊ", "Ġx"]),
        ("qwen2", "I'M 12, OK\n\n x", ["I", "'M", "Ġ", "1", "2", ",", "ĠOK", "ĊĊ", "Ġx"]),
        ("o200k", "I'M 1234 camelCase/\n", ["I'M", "Ġ", "123", "4", "Ġcamel", "Case", "/Ċ"]),
        ("[a-z]+", "ab12cd", ["ab", "12", "cd"]),
    ],
)
def test_texts_are_cut_as_the_pattern_says(pattern, text, pieces):
    """Presets cut as the families whose names they have; an expression of one's own gives its matches and what is between."""
    cut = preset(pattern).pre_tokenizer.pre_tokenize_str(text)
    assert [piece for piece, _ in cut] == pieces


@pytest.mark.parametrize(("name", "file"), [("llama3", "allenai_dolma2.json"), ("gpt2", "allenai_gpt-neox-olmo-dolma-v1_5.json")])
def test_presets_cut_as_published_tokenizers_do(name, file):
    """On every kind of text the pieces are those of a published tokenizer of that family."""
    from tokenizers import Tokenizer

    published = Tokenizer.from_file(asset(f"tokenizers/olmo/{file}"))
    for text in LESSONS:
        given = text if published.normalizer is None else published.normalizer.normalize_str(text)
        assert preset(name).pre_tokenizer.pre_tokenize_str(given) == published.pre_tokenizer.pre_tokenize_str(given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vocab_size": 256}, "vocab_size is 256; the 256 bytes and the special tokens need 257"),
        ({"special_tokens": ["<a>", "<a>"]}, "special_tokens has '<a>' twice"),
        ({"special_tokens": ["x"]}, "special_tokens has 'x', which any text may hold"),
        ({"sample_bytes": 1000}, r"max_document_bytes \(102400\) is above sample_bytes \(1000\)"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    """Each by a message that names the setting, what it is, and what it may be."""
    with pytest.raises(ValidationError, match=message):
        TrainTokenizer(**wrong)


def test_a_pattern_that_is_no_expression_is_one_clear_error():
    """It is told before any document is read."""
    with pytest.raises(OperatorError, match=r"pattern '\(a' is no regular expression .*gpt2, llama3"):
        TrainTokenizer(pattern="(a").open(ASSETS)


def test_a_special_token_that_texts_are_full_of_is_refused():
    """Else text would get the id of a control token."""
    with pytest.raises(OperatorError, match=r"special_tokens: 'abcabc' is so frequent"):
        learned(["abcabc abcabc"] * 9, special_tokens=["abcabc"])


def test_ill_formed_text_ends_no_training():
    """What an operator before left of a character is learned as the sign for it."""
    broken = pa.array([b"abc \xff\xc3 abc", *(text.encode() for text in LESSONS)], pa.large_binary()).view(pa.large_string())
    assert TrainTokenizer(vocab_size=400).learn(iter([broken])) == learned(["abc \ufffd\ufffd abc", *LESSONS])


# --- tokenize with what was learned


def test_tokenize_uses_what_was_learned_by_name(tmp_path):
    """The name of an operator that learns stands for its file, whatever else has that name."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(learned())
    knows = FakeAssets(knows={"mine": Learned(TrainTokenizer(vocab_size=400), str(path))})
    by_name = Tokenize(tokenizer="mine").open(knows)(documents()).batch
    assert by_name.equals(Tokenize(tokenizer=str(path)).open(ASSETS)(documents()).batch)


@pytest.mark.parametrize(("size", "kind"), [(400, pa.uint16()), (65_536, pa.uint16()), (65_537, pa.uint32())])
def test_columns_are_known_before_anything_is_learned(tmp_path, size, kind):
    """The type of the ids follows from `vocab_size`, while there is no file and when there is a smaller one than was asked for."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(learned())
    operator = TrainTokenizer(vocab_size=size)
    planned = Tokenize(tokenizer="mine").open(FakeAssets(knows={"mine": Learned(operator, None)}))(documents().slice(0, 0)).batch
    run = Tokenize(tokenizer="mine").open(FakeAssets(knows={"mine": Learned(operator, str(path))}))(documents()).batch
    assert planned.schema.field("input_ids").type == pa.large_list(kind)
    assert run.schema.equals(planned.schema)


def test_an_operator_that_learns_something_else_is_no_tokenizer():
    """The error names it."""
    other = TrainTokenizer.model_construct(**TrainTokenizer().model_dump())
    knows = FakeAssets(knows={"mine": Learned(other, None)})
    assert Tokenize(tokenizer="mine").open(knows)
    knows = FakeAssets(knows={"mine": Learned(LengthFilter(name="mine"), None)})
    with pytest.raises(OperatorError, match="the operator 'mine' learns no tokenizer"):
        Tokenize(tokenizer="mine").open(knows)


def test_the_file_is_readable_json():
    """It is what the library writes: version, model, the special tokens as added tokens."""
    told = json.loads(learned())
    assert told["model"]["type"] == "BPE"
    assert [token["content"] for token in told["added_tokens"]] == [END_OF_TEXT]


def test_what_a_learned_tokenizer_will_not_have_is_told_before_the_run():
    """Its pattern is known before its vocabulary is: what the kernels do not know of it is warned of when the plan is made."""
    learner = TrainTokenizer(pattern=r"(?<=a)b|\s+|\S+")
    planned = FakeAssets(knows={"train_tokenizer": Learned(learner, None)})
    with pytest.warns(OperatorWarning, match=r"the pattern of 'train_tokenizer', which has lookbehind"):
        Tokenize(tokenizer="train_tokenizer").open(planned)
    Tokenize(tokenizer="train_tokenizer", engine="tokenizers").open(planned)
    large = FakeAssets(knows={"train_tokenizer": Learned(TrainTokenizer(vocab_size=1 << 21), None)})
    with pytest.warns(OperatorWarning, match="ids of 1,048,576 and above"):
        Tokenize(tokenizer="train_tokenizer").open(large)
