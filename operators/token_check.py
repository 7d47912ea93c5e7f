"""Whether kernels give the library's ids: tried on texts of many scripts and on the vocabulary itself, whenever a tokenizer is opened.

Owns those texts. What is compared here costs about a tenth of a second; the rules as such are compared by the tests.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from operators.encoding import Encoder, Ends, Ids, OtherWay

MAX_TOKENS: Final = 4096
"""Of the vocabulary, that are tried as texts: evenly spread over it."""
MAX_ADDED: Final = 512
SHOWN_CHARS: Final = 40

TEXTS: Final = (
    "",
    " ",
    "a",
    "Hello, world! I'll say it's what they've done; you'd think we're 'twas, and DON'T SHOUT, I'M HERE, Do\xa0'man.",
    "It’s 3.14159, 1,234,567 and 0x7f: 12345678901234567890 ٣٤ Ⅻ ² ½",  # noqa: RUF001
    "  two  three   four    \t\ttabs\r\nlines\n\n\n  indented\n \n\x85\u2028 \xa0\u3000 end \n",
    "def f(x: int) -> str:\n    return f'{x!r:>10}'  # a_b camelCase HTTPServer x**2 != y // 3\n\n\nclass A(B):\n\tpass\n",
    'https://www.example.org/a-b_c?d=%20e&f#g <div class="x">&amp;</div> ```json\n{"k": [1, null]}\n```',
    "Привет, мир! Ελληνικά Հայերեն",
    "你好，世界。日本語のテキストです。한국어 문장",  # noqa: RUF001
    "مرحبا بالعالم، שלום हिन्दी ไทย",
    "Zürich straße naïve İstanbul ſharp \u212a Ǆ e\u0301 A\u030a \u1112\u1161\u11ab \u0958",  # noqa: RUF001
    "😀👨\u200d👩\u200d👧 ❤\ufe0f 🇩🇪 𝕏 \ufffd \0 \u0378 \U0010ffff",  # noqa: RUF001
    "x" * 300 + " " + "ab" * 150 + " " * 120 + "-" * 100 + "\n" * 70 + "9" * 90,
)


def compare(kernels: Encoder, library: Encoder, tokenizer: Any) -> None:
    """Try both on the texts of this module, on tokens of the vocabulary, alone and joined, and on added ones alone, in letters, twice, cut.

    Raises:
        OtherWay: They give other ids, or the library itself gives up.
    """
    texts = _texts(tokenizer)
    column, taken = pa.array(texts, pa.large_string()), np.ones(len(texts), bool)
    try:
        expected = _lists(library(column, taken))
    except RuntimeError as error:
        raise OtherWay(f"the library itself gives up on a text that the kernels are compared with it on ({error})") from error
    found = _lists(kernels(column, taken))
    for text, ours, theirs in zip(texts, found, expected, strict=True):
        if not np.array_equal(ours, theirs):
            raise OtherWay(f"the kernels gave other ids than the library for {text[:SHOWN_CHARS]!r}; please report it with the file")


def _texts(tokenizer: Any) -> list[str]:
    size = tokenizer.get_vocab_size()
    few = tokenizer.decode_batch([[number] for number in range(0, size, -(-size // MAX_TOKENS))], skip_special_tokens=False)
    texts = [*TEXTS, *few, *("".join(few[at : at + 8]) for at in range(0, len(few), 8))]
    added = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    for token in added[:: max(1, len(added) // MAX_ADDED)]:
        texts += [token, f"a{token}b", f" {token}{token} ", token[:-1], f"{token[:-1]}{token}"]
    return texts


def _lists(encoded: tuple[Ids, Ends]) -> list[Ids]:
    ids, ends = encoded
    return np.split(ids, ends[:-1])
