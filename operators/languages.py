"""Names of languages: ISO 639-1 and 639-3 codes, and the labels that are made of them (`deu`, `deu_Latn`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

# ISO 639-3 code of every ISO 639-1 code (registry of SIL International, through Debian's iso-codes 4.15).
_PAIRS: Final = """
aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam bn:ben
bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces cu:chu cv:chv cy:cym da:dan de:deu dv:div dz:dzo ee:ewe el:ell
en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv
ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye hz:her ia:ina id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido is:isl it:ita
iu:iku ja:jpn jv:jav ka:kat kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir
la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt
my:mya na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan
pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin sa:san sc:srd sd:snd se:sme sg:sag sh:hbs si:sin sk:slk
sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl
tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid
yo:yor za:zha zh:zho zu:zul
"""


@cache
def _three_letters() -> Mapping[str, str]:
    return dict(pair.split(":") for pair in _PAIRS.split())


@cache
def _known() -> frozenset[str]:
    return frozenset(_three_letters().values())


def iso639_3(label: str) -> str | None:
    """The ISO 639-3 code of a label in either style (`de`, `deu`, `deu_Latn`); None if its two letters are no code of ISO 639-1."""
    code = label.partition("_")[0].partition("-")[0].lower()
    return code if len(code) == 3 else _three_letters().get(code)


# The most spoken member of each macrolanguage, and what its texts are labelled as by GlotLID and FineWeb-2.
_INDIVIDUAL: Final = {
    "ara": "arb",
    "aze": "azj",
    "est": "ekk",
    "ful": "fuv",
    "grn": "gug",
    "iku": "ike",
    "kon": "kng",
    "kur": "kmr",
    "lav": "lvs",
    "mlg": "plt",
    "mon": "khk",
    "msa": "zsm",
    "nep": "npi",
    "nor": "nob",
    "ori": "ory",
    "orm": "gaz",
    "pus": "pbt",
    "que": "quy",
    "sqi": "als",
    "swa": "swh",
    "tgl": "fil",
    "uzb": "uzn",
    "yid": "ydd",
    "zho": "cmn",
}
_WIKIPEDIA: Final = {"als": "gsw", "bh": "bih"}
"""What two codes of Wikipedia stand for; labels of models that were trained on it are its codes."""


def individual(label: str, *, of_wikipedia: bool = False) -> str:
    """The ISO 639-3 code that GlotLID uses for a label's language (`zh`, `zho` and `cmn_Hani` are all `cmn`); its own code if unknown."""
    code = label.partition("_")[0].partition("-")[0].lower()
    found = _WIKIPEDIA.get(code) if of_wikipedia else None
    found = found or iso639_3(label) or code
    return _INDIVIDUAL.get(found, found)


_VARIANTS: Final = {"Hans": "Hani", "Hant": "Hani", "Kore": "Hang"}
"""Scripts that letters alone do not tell apart, by the one that a document is said to be in."""


def script_of(label: str) -> str | None:
    """The script that a label names (`Latn` of `deu_Latn`, `Hani` of `zho_Hant`), if it does."""
    script = label.partition("_")[2].partition("_")[0].title()
    return _VARIANTS.get(script, script) if len(script) == len("Latn") and script.isalpha() else None


def uses_wikipedia_codes(labels: list[str]) -> bool:
    """Whether labels are codes of Wikipedia: two letters, and with `sq` for Albanian, `als` is not."""
    return "sq" in labels and not any(script_of(label) for label in labels)
