"""The front matter of a card: what the Hub and `datasets` read of a README.md before its text.

Everything in it may come from strangers (the name, the licence, languages), so that every scalar is a quoted JSON string, which YAML
reads as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipelines.legible import legible

SIZES: Final = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)
# fmt: off
LICENCES: Final = frozenset(
    {
        "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause",
        "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0",
        "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
        "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl",
        "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail",
        "openrail++", "osl-3.0", "other", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
    }
)
# fmt: on
"""What the Hub takes as `license`; anything else is `other` with a name."""
CODE: Final = re.compile(r"[a-z]{2,3}")
NO_LANGUAGES: Final = frozenset({"und", "zxx", "mis"})
"""Codes of ISO 639-3 that say that a text is in no known language."""
MIN_LANGUAGE_SHARE: Final = 0.01
MAX_LANGUAGES: Final = 100


class Config(NamedTuple):
    """A dataset of the repo as `load_dataset(repo, config)` reads it: one split, and the patterns of its files."""

    name: str
    split: str
    patterns: Sequence[str]


def front_matter(
    manifest: Mapping[str, Any], configs: Sequence[Config], languages: Sequence[str], *, has_viewer: bool = True
) -> Iterator[str]:
    """The lines of a card's front matter, with the marks around it.

    There is no `dataset_info`: its sizes would make `load_dataset` refuse a part of the data (`data_files=…`).

    Args:
        manifest: Of the version.
        configs: What can be loaded; one without patterns loads nothing, and says so.
        languages: Codes as the Hub has them.
        has_viewer: False where the Hub's viewer would have nothing to show.
    """
    yield "---"
    yield f"pretty_name: {quoted(manifest['name'])}"
    if languages:
        yield "language:"
        yield from (f"  - {quoted(language)}" for language in languages)
    yield from _licence(manifest["licence"])
    yield "size_categories:"
    yield f"  - {quoted(_size_category(manifest['output']['rows']))}"
    yield "task_categories:"
    yield '  - "text-generation"'
    yield "tags:"
    yield '  - "shardmill"'
    if not has_viewer:
        yield "viewer: false"
    yield "configs:"
    for config in configs:
        yield from _config(config)
    yield "---"


def _config(config: Config) -> Iterator[str]:
    yield f"  - config_name: {quoted(config.name)}"
    if not config.patterns:
        # Without `data_files`, load_dataset would take every Parquet file of the repo, tables too, for documents.
        yield "    data_files: []"
        return
    yield "    data_files:"
    yield f"      - split: {quoted(config.split)}"
    if len(config.patterns) == 1:
        yield f"        path: {quoted(config.patterns[0])}"
    else:
        yield "        path:"
        yield from (f"          - {quoted(pattern)}" for pattern in config.patterns)


def quoted(text: object) -> str:
    """A YAML scalar. YAML reads JSON's quotes, but neither its surrogate pairs nor what cannot be printed, so both are gone before."""
    return json.dumps(legible(text, 500), ensure_ascii=False)


def _licence(licence: str | None) -> Iterator[str]:
    if licence is None:
        return
    known = licence.strip().lower()
    if known in LICENCES:
        yield f"license: {quoted(known)}"
        return
    yield 'license: "other"'
    yield f"license_name: {quoted(re.sub(r'[^a-z0-9.]+', '-', known).strip('-')[:80] or 'other')}"


def filtered_languages(manifest: Mapping[str, Any]) -> list[str]:
    """Languages that the last language filter lets through, where it names them as the Hub does."""
    found: list[str] = []
    for operator in manifest["operators"]:
        wanted = operator["settings"].get("languages")
        if operator["type"] == "language_filter" and isinstance(wanted, list) and not operator["settings"].get("annotate"):
            found = sorted({code for code in wanted if isinstance(code, str) and CODE.fullmatch(code)})
    return found


def _size_category(rows: int) -> str:
    return next((name for most, name in SIZES if rows < most), "n>1T")


def found_languages(manifest: Mapping[str, Any]) -> list[str]:
    """Codes of the languages of more than one percent of the documents, where they were counted; else of those that were let through."""
    for counted in ("documents", "tokens"):
        by_language = (manifest.get(counted) or {}).get("by_language")
        if by_language:
            whole = sum(told["documents"] for told in by_language.values())
            many = [language for language, told in by_language.items() if told["documents"] > whole * MIN_LANGUAGE_SHARE]
            # GlotLID writes `deu_Latn`; the Hub knows codes of two and three letters.
            codes = {language.partition("_")[0].lower() for language in many}
            return sorted(code for code in codes - NO_LANGUAGES if CODE.fullmatch(code))[:MAX_LANGUAGES]
    return filtered_languages(manifest)
