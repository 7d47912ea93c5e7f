"""Whether the kernels give the library's ids: tried on texts of many scripts, and on the vocabulary itself, each time a tokenizer is opened.

Owns those texts. What is compared here costs about a tenth of a second; the rules as such are compared by the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Encoder = Callable[[pa.LargeStringArray, npt.NDArray[np.bool_]], tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]

MAX_TOKENS: Final = 4096
"""Of the vocabulary, that are tried as texts: evenly spread over it."""
SHOWN_CHARS: Final = 40

TEXTS: Final = (
    "",
    " ",
    "a",
    "Hello, world! I'll say it's what they've done; you'd think we're 'twas, and DON'T SHOUT, I'M HERE, Do\u00a0'man.",
    "It\u2019s 3.14159, 1,234,567 and 0x7f: 12345678901234567890 \u0663\u0664 \u216b \u00b2 \u00bd",
    "  two  three   four    \t\ttabs\r\nlines\n\n\n  indented\n \n\u0085\u2028 \u00a0\u3000 end \n",
    "def f(x: int) -> str:\n    return f'{x!r:>10}'  # a_b camelCase HTTPServer x**2 != y // 3\n\n\nclass A(B):\n\tpass\n",
    'https://www.example.org/a-b_c?d=%20e&f#g <div class="x">&amp;</div> ```json\n{"k": [1, null]}\n```',
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0540\u0561\u0575\u0565\u0580\u0565\u0576",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002\ud55c\uad6d\uc5b4 \ubb38\uc7a5",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u05e9\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
    "Z\u00fcrich stra\u00dfe na\u00efve \u0130stanbul \u017fharp \u212a \u01c5 e\u0301 \u0041\u030a \u1112\u1161\u11ab \u0958",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1e9\U0001f1ea \U0001d54f \ufffd \u0000 \u0378 \U0010ffff",
    "x" * 300 + " " + "ab" * 150 + " " * 120 + "-" * 100 + "\n" * 70 + "9" * 90,
)


def difference(kernels: Encoder, library: Encoder, tokenizer: Any) -> str | None:
    """The beginning of the first text of which the two encoders give other ids; None if there is none.

    Tried are the texts of this module, tokens of the vocabulary alone and joined, and each added token alone, between letters, twice and cut.
    """
    size = tokenizer.get_vocab_size()
    few = tokenizer.decode_batch([[number] for number in range(0, size, -(-size // MAX_TOKENS))], skip_special_tokens=False)
    texts = [*TEXTS, *few, *("".join(few[at : at + 8]) for at in range(0, len(few), 8))]
    for _, added in sorted(tokenizer.get_added_tokens_decoder().items()):
        token = added.content
        texts += [token, f"a{token}b", f" {token}{token} ", token[:-1], f"{token[:-1]}{token}"]
    column = pa.array(texts, pa.large_string())
    found, expected = (_lists(encode(column, np.ones(len(texts), bool))) for encode in (kernels, library))
    differs = (text for text, ours, theirs in zip(texts, found, expected, strict=True) if not np.array_equal(ours, theirs))
    first = next(differs, None)
    return None if first is None else first[:SHOWN_CHARS]


def _lists(encoded: tuple[Any, Any]) -> list[npt.NDArray[np.int32]]:
    ids, ends = encoded
    return np.split(ids, ends[:-1])
