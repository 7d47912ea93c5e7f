"""Token ids are those of the `tokenizers` library, whatever tokenizer.json says: a gallery of tokenizers against the library itself."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, SHARED, asset
from tokenizer_cases import FAST, PADDING, TRUNCATION, gallery
from tokenizer_gallery import byte_level, from_gpt2, from_tiktoken, trained, written
from tokenizer_texts import HARD, PROSE, RUNS, texts
from tokenizing import FILES, agree, batch_of, check, expected, found, library, opened, real_texts

from operators.base import OperatorWarning
from operators.tokenize import Tokenize

NAMES = list(gallery([]))
OLMO = ("allenai_dolma2", "allenai_gpt-neox-olmo-dolma-v1_5", "allenai_eleuther-ai-gpt-neox-20b-pii-special")
CONVERTED = ("gpt2", "whisper-multilingual")

# Whose ids decode to the text: nothing is removed, added or replaced, and each id stands for one token.
CHANGING = (
    "roberta",
    "prefix",
    "removed",
    "letters-kept",
    "string-kept",
    "punctuation-removed",
    "bytes-twice",
    "pre-none",
    "pre-whitespace",
    "shared",
    "norm-",
    "added-",
    "post-",
    "foreign-",
    "gap-",
    "truncated",
    "nfc",
)
LOSSLESS = [name for name in NAMES if not any(word in name for word in CHANGING)] + ["added-whitespace", "added-special"]

BOUNDED = settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="session")
def merges():
    """Merges learnt from real documents of every group, or from a small text where there are none."""
    folder = SHARED / "data" / "docs"
    samples = [text for name in FILES for text in real_texts(name, 97, 4000)] if folder.is_dir() else []
    return trained([PROSE * 3, *samples], 3000, byte_level())


@pytest.fixture(scope="session")
def path_of(merges, tmp_path_factory):
    """The file of each tokenizer of the gallery."""
    folder = tmp_path_factory.mktemp("gallery")
    made = {name: written(each, folder / f"{name}.json") for name, each in gallery(merges).items()}

    def path_to(name):  # a dictionary of them all would be shown with each failure
        return made[name]

    return path_to


def warned(path):
    """The operator's function, and what it warned of when it was opened."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function = Tokenize(tokenizer=str(path)).open(ASSETS)
    return function, [str(each.message) for each in caught if issubclass(each.category, OperatorWarning)]


@pytest.fixture(scope="session")
def sides():
    """For a tokenizer: the operator's function, what it warned of, and the library; each opened once for all tests."""
    return functools.cache(lambda path: (*warned(path), library(path)))


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """The files of published vocabularies that are no tokenizer.json, converted."""
    folder = tmp_path_factory.mktemp("converted")
    made = {
        "gpt2": from_gpt2(Path(asset("tokenizers/gpt2/encoder.json")).parent),
        "whisper-multilingual": from_tiktoken(Path(asset("tokenizers/whisper/multilingual.tiktoken"))),
    }
    return {name: written(each, folder / f"{name}.json") for name, each in made.items()}


def compare(both, documents):
    """The operator's ids are the library's, each opened before."""
    function, _, reference = both
    agree(found(function, batch_of(documents)), [reference.encode(text, add_special_tokens=False).ids for text in documents], documents)


@functools.cache
def sample() -> list[str]:
    """Some real documents of every group, none of them long; none where they are absent."""
    if not (SHARED / "data" / "docs").is_dir():
        return [PROSE]
    return [PROSE, *(text for name in FILES for text in real_texts(name, 61, 3000)[:4])]


@pytest.mark.parametrize("name", NAMES)
def test_hard_texts_have_the_library_s_ids(sides, path_of, name):
    """Every trigger of every rule beside every other kind of character, and real documents, under each tokenizer of the gallery."""
    compare(sides(path_of(name)), [*HARD, *sample()])


@pytest.mark.parametrize("name", NAMES)
def test_long_runs_have_the_library_s_ids(sides, path_of, name):
    """Runs of one character, longer than any bound of a cache or a table, under each tokenizer of the gallery."""
    compare(sides(path_of(name)), RUNS)


@pytest.mark.parametrize("name", NAMES)
@BOUNDED
@given(st.lists(texts, max_size=5))
def test_any_text_has_the_library_s_ids(sides, path_of, name, documents):
    """Texts over all of Unicode, unassigned code points among them; what was tokenized before changes nothing."""
    compare(sides(path_of(name)), documents)


FRAMED = [name for name in NAMES if name.startswith("post-")]


@pytest.mark.parametrize("name", [*FRAMED, "pre-gpt2", "truncated", "norm-nfc", "added-special"])
def test_special_tokens_around_a_text_are_the_library_s(path_of, name):
    """With `add_special_tokens` an empty text has them too, and a post processor that adds none adds none."""
    check(path_of(name), ["", " ", *HARD[::7], "<s>a</s>"], framed=True)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("added-", "post-"))])
def test_special_tokens_in_a_text_are_the_library_s_if_asked_for(path_of, name):
    """As control tokens they are cut out of the text wherever the library finds them."""
    check(path_of(name), HARD[::2], control=True, framed=True)


def test_truncation_and_padding_of_the_file_are_off(path_of):
    """A file that asks for three tokens, filled up to eight, gives those of the whole text."""
    asked = json.loads(path_of("truncated").read_text())
    assert (asked["truncation"], asked["padding"]) == (TRUNCATION, PADDING)
    check(path_of("pre-gpt2"), HARD)
    assert expected(path_of("truncated"), HARD) == expected(path_of("pre-gpt2"), HARD)


@pytest.mark.parametrize("name", LOSSLESS)
def test_ids_decode_to_the_text(sides, path_of, name):
    """A byte-level tokenizer that removes and replaces nothing loses nothing."""
    function, _, decoder = sides(path_of(name))
    ids = found(function, batch_of(HARD))
    assert [decoder.decode(each, skip_special_tokens=False) for each in ids] == HARD


@pytest.mark.parametrize("name", OLMO)
def test_published_tokenizers(sides, name):
    """The tokenizers of OLMo, hard texts and long runs, and real documents of each group."""
    path = Path(asset(f"tokenizers/olmo/{name}.json"))
    compare(sides(path), [*HARD, *RUNS, *sample(), *real_texts("multi-lid-00000", 50)])
    check(path, [*HARD[::3], *sample()], framed=True)


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_tokenizers(sides, converted, name):
    """GPT-2's two files, and Whisper's ranks with every cut of a token as a merge."""
    compare(sides(converted[name]), [*HARD, *sample()])


def test_every_document_of_code(sides):
    """All of the code, under the pattern that is made for it."""
    compare(sides(Path(asset(f"tokenizers/olmo/{OLMO[0]}.json"))), real_texts("code-00000"))


def test_every_pathological_document(sides, converted):
    """All of them, under GPT-2 and, in normal form C, under NeoX."""
    documents = real_texts("edge-00000")
    compare(sides(converted["gpt2"]), documents)
    compare(sides(Path(asset(f"tokenizers/olmo/{OLMO[1]}.json"))), documents)


@pytest.mark.parametrize("name", OLMO)
@settings(parent=BOUNDED, max_examples=40)
@given(documents=st.lists(texts, max_size=6))
def test_any_text_under_published_tokenizers(sides, name, documents):
    """Texts over all of Unicode under large vocabularies."""
    compare(sides(Path(asset(f"tokenizers/olmo/{name}.json"))), documents)


@pytest.mark.parametrize("name", FAST)
def test_usual_tokenizers_need_no_library(sides, path_of, name):
    """GPT-2's, Llama-3's, Qwen's, o200k and their like are opened without a warning, so it is the kernels that gave their ids."""
    assert sides(path_of(name))[1] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("foreign-")] + ["pre-none", "norm-lowercase", "pre-lookbehind"])
def test_others_are_told(sides, path_of, name):
    """A tokenizer that the library must do is told in one warning that names the file."""
    (message,) = sides(path_of(name))[1]
    assert str(path_of(name)) in message


@pytest.mark.parametrize("name", FAST[::6])
def test_the_library_can_be_asked_for(path_of, name):
    """`engine: tokenizers` gives what `auto` gives."""
    check(path_of(name), HARD, engine="tokenizers")


@pytest.mark.parametrize("name", ["added-special", "added-nfc-special", "added-whitespace"])
def test_an_end_token_is_the_last_id(path_of, name):
    """Each document ends with it, an empty one too, and the other ids are as without it."""
    from tokenizers import Tokenizer

    end = Tokenizer.from_file(str(path_of(name))).token_to_id("<|endoftext|>")
    ids = found(opened(path_of(name), append="<|endoftext|>"), batch_of(HARD))
    assert ids == [[*each, end] for each in expected(path_of(name), HARD)]
