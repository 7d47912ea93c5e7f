"""Where `words_english_data` comes from: the installed spaCy's English tokenizer, written down as plain text.

    python -m operators.kernels.words_english_source > operators/kernels/words_english_data.py

No pipeline imports this; a test does, where spaCy is installed, and compares what it finds with what is kept.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator

import spacy
from spacy.attrs import ORTH
from spacy.lang import char_classes as characters
from spacy.lang.en import English
from spacy.lang.punctuation import TOKENIZER_PREFIXES, TOKENIZER_SUFFIXES
from spacy.pipeline import Sentencizer
from spacy.tokenizer import Tokenizer

JOINT = "¦"
WIDTH = 138


def classes() -> str:
    """Runs of code points of equal classes, `first:classes` in hexadecimal; the bits are those of `words_english_rules`, in their order."""
    quotes, lower = characters.CONCAT_QUOTES, characters.ALPHA_LOWER
    # As in spacy/lang/punctuation.py, where the groups and bars of the last rule but one are members of its class.
    before_dot = r"0-9{al}{e}{p}(?:{q})".format(al=lower, e=r"%²\-\+", q=quotes, p=characters.PUNCT)
    members = [
        _cut_off(TOKENIZER_PREFIXES),
        _cut_off(TOKENIZER_SUFFIXES),
        _members(f"[…{characters.CONCAT_ICONS}]"),
        _members(f"[{before_dot}]"),
        _members(f"[{characters.ALPHA_UPPER}]"),
        _members(f"[{characters.ALPHA}]"),
        _members(f"[{lower}{quotes}]"),
        _members(f"[{characters.ALPHA_UPPER}{quotes}]"),
        _members(f"[{lower}]"),
        set(map(ord, Sentencizer.default_punct_chars)),
    ]
    runs, last = [], -1
    for code in range(sys.maxunicode + 1):
        bits = sum((code in some) << bit for bit, some in enumerate(members))
        if bits != last:
            runs.append(f"{code:x}:{bits:x}")
            last = bits
    return " ".join(runs)


def _cut_off(pieces: Iterable[str]) -> set[int]:
    """Code points of the pieces that say one character or a class of them."""
    plain = [piece.removeprefix("\\") for piece in pieces]
    return {ord(piece) for piece in plain if len(piece) == 1}.union(
        *(_members(piece) for piece in plain if piece[1:] and piece.startswith("["))
    )


def _members(pattern: str) -> set[int]:
    """Code points of a class."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    return {code for match in re.finditer(f"{pattern}+", every) for code in range(match.start(), match.end())}


def tails() -> str:
    """What is cut off at the end when a digit stands before it: units, currencies, the plus sign."""
    found = {*characters.LIST_UNITS, *(currency.replace("\\", "") for currency in characters.LIST_CURRENCY), "+"}
    return " ".join(sorted(found))


def specials() -> str:
    """Strings with tokens of their own, `¦` between the tokens; where `'` stands in one, the same holds with U+2019."""
    found = {key: tuple(token[ORTH] for token in tokens) for key, tokens in English().tokenizer.rules.items() if not key.isspace()}
    return _joined(found)


def patterns() -> str:
    """Specials of which the tokenizer makes several tokens where it does not see them as a whole: then those are looked for."""
    return _joined(dict(_patterns()))


def _patterns() -> Iterator[tuple[str, tuple[str, ...]]]:
    tokenizer = English().tokenizer
    plain = Tokenizer(
        tokenizer.vocab,
        rules={},
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        url_match=tokenizer.url_match,
    )
    for key in tokenizer.rules:
        if tokenizer.find_prefix(key) or tokenizer.find_infix(key) or tokenizer.find_suffix(key):
            tokens = tuple(token.text for token in plain(key))
            if len(tokens) > 1:
                yield key, tokens


def _joined(found: dict[str, tuple[str, ...]]) -> str:
    """One line, without those that follow from another by writing U+2019 for `'`."""
    implied = {
        key.replace("'", "\u2019"): tuple(token.replace("'", "\u2019") for token in tokens) for key, tokens in found.items() if "'" in key
    }
    kept = (JOINT.join(tokens) for key, tokens in found.items() if implied.get(key) != tokens)
    return " ".join(sorted(kept))


def _literal(name: str, text: str) -> Iterable[str]:
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    escaped = (line.replace("\\", "\\\\").replace('"""', '\\"""') for line in lines)
    return [f'{name}: Final = """', *escaped, '"""', ""]


def main() -> None:
    """Write the module."""
    lines = [
        f'"""Characters, endings and special cases of the English tokenizer of spaCy {spacy.__version__}.',
        "",
        "Copyright (C) 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 Matthew Honnibal; MIT licence. Written by words_english_source,",
        "which explains each; not to be edited.",
        '"""',
        "",
        "# ruff: noqa: RUF001",
        "from typing import Final",
        "",
        f'SPACY_VERSION: Final = "{spacy.__version__}"',
        "",
    ]
    for name, text in (("CLASSES", classes()), ("TAILS", tails()), ("SPECIALS", specials()), ("PATTERNS", patterns())):
        lines += _literal(name, text)
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
