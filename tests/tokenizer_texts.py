"""Texts in which tokenizers differ: strategies rich in what their patterns look at, and a fixed set of hard ones."""

from __future__ import annotations

from hypothesis import strategies as st

APOSTROPHES = [
    "'",
    "\u2019",
    "'s",
    "'S",
    "'\u017f",
    "'ll",
    "'LL",
    "'Ll",
    "'ve",
    "'VE",
    "'re",
    "'Re",
    "'d",
    "'m",
    "'t",
    "I'm",
    "it's",
    "o'clock",
    "''s",
]
CASES = [
    "a",
    "b",
    "A",
    "B",
    "\u017f",
    "\u212a",
    "\u0130",
    "\u0131",
    "\u00df",
    "\ufb01",
    "\u01c5",
    "\u02b0",
    "\u00aa",
    "camelCase",
    "ABC",
    "XMLHttp",
]
SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\v",
    "\f",
    "\x1c",
    "\x85",
    "\xa0",
    "\u1680",
    "\u180e",
    "\u2002",
    "\u200b",
    "\u2028",
]
SPACES += ["\u2029", "\u202f", "\u3000", "\ufeff", " " * 24, " " * 25, "\n  ", "  \n"]
DIGITS = [
    "0",
    "1",
    "12",
    "123",
    "1234",
    "3.14",
    "\u0663",
    "\u0967",
    "\u06f5",
    "\u2167",
    "\u00b2",
    "\u00bd",
    "\u2460",
    "\uff11",
    "\u4e09",
    "\U0001d7d8",
]
MARKS = [
    "\u0301",
    "\u0308",
    "\u0323",
    "\u0345",
    "\u093f",
    "\u05b0",
    "\u20e3",
    "\ufe0f",
    "\u200d",
    "e\u0301",
    "\u00e9",
    "\u1100\u1161\u11a8",
    "\uac01",
]
MARKS += ["\u212b", "\u2126", "\u0958", "\u0f73", "\u1e9b\u0323", "a\u0323\u0301", "\u0374", "\ufb1d", "\U0001109a", "\U0001d15e"]
SYMBOLS = [
    ".",
    ",",
    "!",
    "?",
    "/",
    "//",
    "\\",
    "-",
    "_",
    "(",
    ")",
    "[",
    "|",
    "$",
    "+",
    "\u2026",
    "\u3002",
    "\u060c",
    "\u20ac",
    "\u00ad",
    "#",
    "...",
    "!\n",
]
EMOJI = [
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f",
    "1\ufe0f\u20e3",
    "\U0001f44d\U0001f3fd",
]
SCRIPTS = [
    "\u4f60\u597d",
    "\u3072\u3089\u304c\u306a",
    "\u30ab\u30bf",
    "\ud55c\uad6d\uc5b4",
    "\u0627\u0644",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
]
SCRIPTS += ["\u0e44\u0e17\u0e22", "\u041f\u0440\u0438", "\u05e9\u05dc\u05d5\u05dd", "\u03a3\u03c3\u03c2", "\U00020000", "\U00010400"]
UNASSIGNED = [
    "\u0378",
    "\u2fe0",
    "\U000e0001",
    "\U0010ffff",
    "\ufffe",
    "\uffff",
    "\ue000",
    "\ufffd",
    "\x00",
    "\x7f",
    "\x80",
    "\U0001fbff",
    "\ud7ff",
]
SPECIALS = [
    "<|endoftext|>",
    "<|endoftext|",
    "<|endo",
    "|>",
    "<|im_start|>",
    "<s>",
    "</s>",
    "[CLS]",
    "<unk>",
    "<0x41>",
    "|||IP_ADDRESS|||",
    "\u2581",
]
SPECIALS += ["<a>", "<ab>", "<abc", "foo", "Foo", "cafe\u0301", "caf\u00e9", "</w>", "##b", "\u0120a"]

TRIGGERS = [*APOSTROPHES, *CASES, *SPACES, *DIGITS, *MARKS, *SYMBOLS, *EMOJI, *SCRIPTS, *UNASSIGNED, *SPECIALS]

triggered = st.lists(st.sampled_from(TRIGGERS), max_size=14).map("".join)
"""Texts of triggers alone: every rule of every pattern meets every other."""

texts = st.one_of(triggered, st.text(max_size=30), st.lists(st.one_of(triggered, st.text(max_size=6)), max_size=4).map("".join))
"""Texts of all of Unicode, assigned or not, between triggers."""

RUNS = [
    *(each * 5000 for each in ("a", " ", "\n")),
    *(each * 700 for each in ("1", "ab", "!", "\t", "\u00e9", "\u4f60", "\u0301", "'", "<|endoftext|>")),
    *("a" * width for width in (255, 256, 257, 1023)),
    " \n" * 300 + "x",
    "aA" * 300 + "1a" * 300,
    "\x00" * 600,
    "\r\n" * 300,
    "a" + " " * 999 + "b",
    "\U0001f600" * 500,
]
"""Long runs, where an implementation that is quadratic, or bounded, shows."""

HARD = [
    "",
    *TRIGGERS,
    *(f"{left}{right}" for left in ("", " ", "x", "1", "\n") for right in TRIGGERS),
    *(f"{each} x" for each in TRIGGERS),
    "".join(TRIGGERS),
    " ".join(TRIGGERS),
    "x".join(TRIGGERS),
    "Do\xa0'man it\u2019s 'Tis IT'S we'RE you\u2019LL 'sun 'Sun x'S\u017f K\u212a",
    "\n\n\x0c\n  \n\t x\n\n   y   \r\n \r\n z  ",
    "1234567 12,345.67 \u0661\u0662\u0663\u0664 \u2167\u2168 x\u00b2\u00b3 3\u00bd \U0001d7d8\U0001d7d9\U0001d7da\U0001d7db",
    "caf\u00e9 cafe\u0301 \u1100\u1161\u11a8 \u1100\u1161 \u11a8 \uac00\u11a8 A\u030a\u0301 \u212b q\u0307\u0323 q\u0323\u0307 \u0301alone",
    "def f(x):\n    return {'a': x[0] // 2, \"b\": -1}  # done\n\n\tif x != 0 and y >= 1e-5:\n        pass\n",
    "https://www.example.org/a/b?c=1&d=%20#e user@example.org C:\\new\\table",
    "<|endoftext|> a<|endoftext|>b <|im_start|>user\n<s>[CLS]</s><unk> |||IP_ADDRESS||| <ab><abc><a> foo foos Foo _foo foo\u0301",
]
"""Hard texts, fixed: what has differed between implementations, and each trigger at the begin, the end and between others."""

PROSE = """The people of the town have been to the market, and that's what they came back with. It wasn't a good day for all of them;
they've said so, and we'll see. In 1999 there were 1234567 of them, or 3.14 per cent (of what?). "Quite," said she: "I'd rather go!"

Die Menschen in der Stadt waren auf dem Markt, und das ist es, was sie mitgebracht haben. Schöne Grüße aus München, Straße 12.
Les élèves étaient déjà là; l'été où il est né, ça va. El niño comió mañana. Привет, как дела у вас сегодня? 你好世界，今天天气很好。
これはテストです。 한국어 문장입니다. مرحبا بالعالم नमस्ते दुनिया

def tokenize(text, *, limit=100):
    for index, word in enumerate(text.split(" ")):
        if index >= limit and word != "":
            return {"word": word, 'n': index + 1}
    return None
"""
