"""Scripts as data: their codes in ISO 15924, by the words that the Unicode names of their letters begin with."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
ADLAM:Adlm ARABIC:Arab ARMENIAN:Armn AVESTAN:Avst BALINESE:Bali BAMUM:Bamu BATAK:Batk BENGALI:Beng BOPOMOFO:Bopo BRAHMI:Brah BUGINESE:Bugi
BUHID:Buhd CANADIAN:Cans CHAKMA:Cakm CHAM:Cham CHEROKEE:Cher CJK:Hani COPTIC:Copt CUNEIFORM:Xsux CYRILLIC:Cyrl DESERET:Dsrt DEVANAGARI:Deva
EGYPTIAN:Egyp ETHIOPIC:Ethi GEORGIAN:Geor GLAGOLITIC:Glag GOTHIC:Goth GREEK:Grek GUJARATI:Gujr GURMUKHI:Guru HANGUL:Hang HANIFI:Rohg
HANUNOO:Hano HEBREW:Hebr HIRAGANA:Hira JAVANESE:Java KAITHI:Kthi KANNADA:Knda KATAKANA:Kana KAYAH:Kali KHMER:Khmr LAO:Laoo LATIN:Latn
LEPCHA:Lepc LIMBU:Limb LISU:Lisu MALAYALAM:Mlym MANDAIC:Mand MEETEI:Mtei MENDE:Mend MIAO:Plrd MODI:Modi MONGOLIAN:Mong MYANMAR:Mymr
NEWA:Newa NKO:Nkoo NYIAKENG:Hmnp OGHAM:Ogam OL:Olck ORIYA:Orya OSAGE:Osge OSMANYA:Osma PAHAWH:Hmng PHAGS-PA:Phag RUNIC:Runr SAMARITAN:Samr
SAURASHTRA:Saur SHARADA:Shrd SINHALA:Sinh SUNDANESE:Sund SYLOTI:Sylo SYRIAC:Syrc TAGALOG:Tglg TAGBANWA:Tagb TAMIL:Taml TELUGU:Telu
THAANA:Thaa THAI:Thai TIBETAN:Tibt TIFINAGH:Tfng TIRHUTA:Tirh VAI:Vaii WANCHO:Wcho WARANG:Wara YI:Yiii
"""
BY_NAME: Final = dict(pair.split(":") for pair in _NAMES.split())
LONGER: Final = {"TAI LE": "Tale", "TAI THAM": "Lana", "TAI VIET": "Tavt", "NEW TAI": "Talu"}
UNKNOWN: Final = "Zyyy"
SCRIPTS: Final = (UNKNOWN, "Jpan", *sorted({*BY_NAME.values(), *LONGER.values()}))
"""What `main_scripts` numbers: first the one of texts without letters, then Japanese, which is written in three."""
LATIN: Final = SCRIPTS.index("Latn")
HAN, HIRAGANA, KATAKANA = (SCRIPTS.index(script) for script in ("Hani", "Hira", "Kana"))
JAPANESE: Final = 1
