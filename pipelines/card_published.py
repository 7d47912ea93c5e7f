"""The card of a published version: what README.md of a dataset repo on the Hub says, with the data in the repo or beside it.

A pure function of manifests and of where things are. What it has in common with the card of an output is in card.py; strangers' words are
escaped as there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipelines.card import account, code, fingerprint_line, joined, learned_lines, summary_lines, token_shard_lines
from pipelines.card_front import Config, found_languages, front_matter
from pipelines.config_places import scheme_of
from pipelines.legible import count, counted
from pipelines.redaction import redact_uri

MAX_VERSIONS: Final = 20
TAKEDOWN: Final = "takedown"
"""Type of the operator under which documents that were taken out later are counted."""


class _Place(NamedTuple):
    """Where what a card speaks of can be found."""

    repo_id: str
    has_data: bool
    preview_path: str | None
    location_uri: str

    def at(self, version: str) -> str:
        """The address of a version, for shardmill's commands."""
        return f"hf://datasets/{self.repo_id}@{version}"


def published_card(
    manifest: Mapping[str, Any],
    *,
    repo_id: str,
    globs: Sequence[str],
    preview_path: str | None,
    include_data: bool,
    location_uri: str,
    older: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The card of a version in a dataset repo.

    With data, `load_dataset(repo_id)` reads the shards. Without, it reads the preview; without a preview either it finds no data, rather
    than take the version's tables for documents.

    Args:
        manifest: Of the version.
        repo_id: Of the repo.
        globs: Paths of the version's shards, one pattern a version and plan.
        preview_path: Of the preview; None: there is none.
        include_data: Whether the shards are in the repo.
        location_uri: The output that it was published from; there the data are that are not in the repo.
        older: Manifests of the versions before it, the oldest first; not all of them need have been published.
    """
    place = _Place(repo_id, include_data, preview_path, redact_uri(location_uri))
    configs = [Config("default", "train", globs)] if include_data else []
    if preview_path is not None or not include_data:
        configs.append(Config("preview", "preview", [] if preview_path is None else [preview_path]))
    has_viewer = include_data or preview_path is not None
    sections = (
        front_matter(manifest, configs, found_languages(manifest), has_viewer=has_viewer),
        summary_lines(manifest),
        _loading(manifest, place),
        *account(manifest),
        _checking(manifest, place),
        _versions(manifest, older, place),
        _takedown(manifest, place),
    )
    return joined(sections)


# --- how to load it


def _loading(manifest: Mapping[str, Any], place: _Place) -> Iterator[str]:
    yield from ("## Load it", "")
    yield from _loading_data(manifest, place) if place.has_data else _loading_elsewhere(manifest, place)
    if place.preview_path is not None:
        yield ""
        call = f'load_dataset({_text(place.repo_id)}, "preview", split="preview")'
        yield f"The split `preview` has documents from all over the version, as they are in its shards: `{call}`."
    yield from token_shard_lines(manifest)
    if manifest["output"].get("token_shards") is not None and not place.has_data:
        yield f"These folders are in {code(place.location_uri)} too."
    if manifest["output"]["tokens"] is not None:
        yield from ("", "`open_dataset` with `tokens=True` streams the token ids alone, as arrays; `sequence_length=4096` packs them.")
    yield from learned_lines(manifest)


def _loading_data(manifest: Mapping[str, Any], place: _Place) -> Iterator[str]:
    name, version = _text(place.repo_id), _text(manifest["version"])
    yield from ("```python", "from datasets import load_dataset", "")
    yield f'dataset = load_dataset({name}, split="train", revision={version})'
    yield from ("# without downloading it first:", f'dataset = load_dataset({name}, split="train", revision={version}, streaming=True)')
    yield from ("```", "")
    yield (
        f"`revision` pins this version, {code(manifest['version'])}; without it, it is the newest one. "
        f"`pipelines.open_dataset({_text(place.at(manifest['version']))})` of shardmill streams the documents in the order of the run."
    )


def _loading_elsewhere(manifest: Mapping[str, Any], place: _Place) -> Iterator[str]:
    yield f"**The documents are not in this repo.** They are in {code(place.location_uri)}, and shardmill streams them from there:"
    yield from ("", "```python", "from pipelines import open_dataset  # shardmill's", "")
    yield from (f"dataset = open_dataset({_text(place.at(manifest['version']))})", "```", "")
    yield f"It is a `datasets.IterableDataset`. {_needs(place.location_uri)} While this repo is private, `HF_TOKEN` is needed besides."


def _needs(location: str) -> str:
    """What one needs to read a location."""
    if scheme_of(location) in ("s3", "s3a"):
        return (
            "The bucket is read with the credentials of your environment (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the "
            "profiles and roles that clients of S3 read), which must allow to read it."
        )
    return "That is a path on the machine that published it: it is read there, or where the same folder is mounted under this path."


def _text(text: str) -> str:
    """A text as Python and JSON write it."""
    return json.dumps(text)


# --- how to check it, and what was before


def _checking(manifest: Mapping[str, Any], place: _Place) -> Iterator[str]:
    folder = f"versions/{manifest['version']}"
    tables = ", ".join(code(f"{folder}/{name}") for name in ("dropped", "duplicates", "quarantine"))
    yield from ("## Check it", "", "```", f"shardmill verify {place.at(manifest['version'])}", "```", "")
    yield (
        "reads every file, here and where the documents are, and compares digests, rows, the preview and the accounting with the manifest. "
        f"{code('manifest.json')} says what made the version, {code('shards.parquet')} lists its files with their SHA-256, "
        f"{code(folder + '/report.html')} shows it, and {code('published.json')} says where it was published from."
    )
    yield ""
    yield f"Every document that is not here stands in {tables}, with the reason{_where_tables_are(manifest, place)}."
    yield from ("", fingerprint_line(manifest))


def _where_tables_are(manifest: Mapping[str, Any], place: _Place) -> str:
    if not place.has_data:
        return f"; they are in {code(place.location_uri)} too"
    has_texts = bool(manifest["config"].get("output", {}).get("dropped"))
    return "; the first, which has the texts of dropped documents, is not published" if has_texts else ""


def _versions(manifest: Mapping[str, Any], older: Sequence[Mapping[str, Any]], place: _Place) -> Iterator[str]:
    yield from ("## Versions", "", "Each version that was published is a tag of this repo, and never changes.", "")
    yield from ("| version | made at | documents | tokens |", "|---|---|--:|--:|")
    known = [*older, manifest]
    yield from (_version_line(version) for version in reversed(known[-MAX_VERSIONS:]))
    if len(known) > MAX_VERSIONS:
        yield f"| {count(len(known) - MAX_VERSIONS)} older | | | |"
    if manifest["parents"]:
        parents = ", ".join(code(parent) for parent in manifest["parents"][:MAX_VERSIONS])
        yield from ("", f"It goes on from the version whose manifest has the SHA-256 {parents}.")
    if older:
        before, now = place.at(older[-1]["version"]), place.at(manifest["version"])
        yield from ("", "What changed, where both are tags:", "", "```", f"shardmill diff {before} {now}", "```")


def _version_line(manifest: Mapping[str, Any]) -> str:
    output = manifest["output"]
    tokens = "" if output["tokens"] is None else count(output["tokens"])
    return f"| {code(manifest['version'])} | {code(manifest['created_at'])} | {count(output['rows'])} | {tokens} |"


def _takedown(manifest: Mapping[str, Any], place: _Place) -> Iterator[str]:
    dropped = manifest["ledger"]["dropped"]
    names = [operator["name"] for operator in manifest["operators"] if operator["type"] == TAKEDOWN]
    taken = sum(sum(dropped.get(name, {}).values()) for name in names)
    yield from ("## Have a document taken out", "")
    yield (
        f"Is something of yours in it that should not be? Open a discussion under *Community* of `{place.repo_id}` with the ids of the "
        "documents (not with their texts), or write to its owner. The next version is without them, later runs leave them out, and the "
        "manifest says that it was done, by number alone."
    )
    if taken:
        yield from ("", f"{counted(taken, 'document')} {'was' if taken == 1 else 'were'} taken out of this version.")
