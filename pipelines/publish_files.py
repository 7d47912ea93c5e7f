"""What a version looks like as a dataset repo: every file of it, with the digest of each, before anything is sent.

    README.md  manifest.json  shards.parquet  published.json      of the version; published.json says where its data lie
    preview/vN/part-00000-<plan>.parquet                          documents that the Hub's viewer shows
    versions/vN/…  versions/vM/manifest.json                      its tables and report; the manifests of the versions that it comes from
    data/…  tokens/vN/…  versions/vN/{dropped,…}/…  _shardmill/inventories/…      only where the repo holds the data

A pure function of a finished version and the settings, so that a second try makes the same repo. Texts of dropped documents are never
part of it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.card_published import published_card
from pipelines.errors import ConfigError, InputError, NotFound, shown
from pipelines.preview import preview, preview_path
from pipelines.published import PUBLISH_VERSION, PUBLISHED, public_options
from pipelines.redaction import redact_uri
from pipelines.report import without_documents
from pipelines.settings_publish import PublishConfig
from pipelines.shard_globs import MAX_LISTED, data_patterns
from pipelines.storage import Store, is_hub_dataset
from pipelines.verify_manifest import is_shard, shape_problems
from pipelines.version import CARD, MANIFEST

SHARDS: Final = "shards.parquet"
MAX_FILE_BYTES: Final = 50 * 10**9
"""The Hub refuses larger files (LESSONS.md, its last section); it recommends 20 GB at most."""
MAX_PROBLEMS: Final = 5


@dataclass(frozen=True, slots=True)
class File:
    """A file of the repo.

    Attributes:
        sha256: Of its content; None for an inventory, whose name is its fingerprint.
        content: Small files; None: it is read from the output, at the same path.
    """

    path: str
    num_bytes: int
    sha256: str | None
    content: bytes | None = None

    @classmethod
    def of(cls, path: str, content: bytes) -> File:
        """A file whose content is at hand."""
        return cls(path, len(content), hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True, slots=True)
class Edition:
    """A finished version of an output, as it is published.

    Attributes:
        raw: The manifest's bytes.
        files: By path.
        lineage: Digests of the manifests of older versions that the output has, by version.
    """

    store: Store
    settings: PublishConfig
    manifest: Mapping[str, Any]
    raw: bytes
    files: Mapping[str, File]
    lineage: Mapping[str, str]

    @property
    def version(self) -> str:
        """As `v2`."""
        return str(self.manifest["version"])

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the identity of the version."""
        return hashlib.sha256(self.raw).hexdigest()


def edition_of(store: Store, settings: PublishConfig) -> Edition:
    """The current version of an output, as it is to be published.

    Raises:
        NotFound: Nothing is finished there.
        ConfigError: That is no output, but what was published from one.
        InputError: The output is not as its manifest says: a file is missing, or of another size.
    """
    if is_hub_dataset(store.uri):
        raise ConfigError(f"{store.uri}: expected an output, found a repo of the Hub; give the output that it was published from")
    raw = _manifest_bytes(store)
    manifest: dict[str, Any] = orjson.loads(raw)
    version = str(manifest["version"])
    shards = _shards(store, version, manifest)
    older = _older_manifests(store, version)
    table = pq.read_table(io.BytesIO(shards.content or b""), use_threads=False)
    _check_sizes(store, _rows_of(table))
    files = {file.path: file for file in _files(store, settings, manifest, raw, shards, table, older)}
    _check_sizes(store, (file for file in files.values() if not is_shard(file.path)))
    lineage = {path.split("/")[1]: str(file.sha256) for path, file in older.items()}
    return Edition(store, settings, manifest, raw, files, lineage)


def _manifest_bytes(store: Store) -> bytes:
    try:
        raw = store.read(MANIFEST)
    except NotFound:
        raise NotFound(
            f"{store.uri}: no manifest.json: no version is finished here, so there is nothing to publish; run the pipeline first"
        ) from None
    try:
        version = str(orjson.loads(raw)["version"])
        copy = store.read(f"versions/{version}/{MANIFEST}")
    except (orjson.JSONDecodeError, KeyError, TypeError, NotFound) as error:
        raise InputError(f"{store.locate(MANIFEST)}: it is damaged ({shown(error)}); `shardmill verify {store.uri}` says more") from error
    if copy != raw:
        raise InputError(
            f"{store.locate(MANIFEST)}: it differs from versions/{version}/{MANIFEST}; `shardmill verify {store.uri}` says more"
        )
    _check_shape(store, MANIFEST, raw, version)
    return raw


def _shards(store: Store, version: str, manifest: Mapping[str, Any]) -> File:
    path = f"versions/{version}/{SHARDS}"
    file = File.of(path, _read(store, path))
    expected = manifest["tables"]["shards"]["sha256"]
    if file.sha256 != expected:
        raise InputError(f"{store.locate(path)}: its sha256 is {file.sha256}, the manifest says {expected}; restore it from a copy")
    return file


def _older_manifests(store: Store, version: str) -> dict[str, File]:
    """Manifests of the versions before this one that the output still has."""
    found = {}
    for number in range(1, int(version[1:])):
        path = f"versions/v{number}/{MANIFEST}"
        if store.exists(path):
            file = found[path] = File.of(path, _read(store, path))
            _check_shape(store, path, file.content or b"", f"v{number}")
    return found


def _check_shape(store: Store, path: str, raw: bytes, version: str) -> None:
    for problem in shape_problems(path, raw, version):
        raise InputError(f"{store.locate(path)}: {problem.message}; `shardmill verify {store.uri}` says more")


def _files(
    store: Store,
    settings: PublishConfig,
    manifest: Mapping[str, Any],
    raw: bytes,
    shards: File,
    table: pa.Table,
    older: Mapping[str, File],
) -> Iterator[File]:
    assert shards.content is not None
    folder = f"versions/{manifest['version']}"
    shown_first = _preview(store, settings, manifest, table)
    yield from older.values()
    yield File.of(MANIFEST, raw)
    yield File.of(f"{folder}/{MANIFEST}", raw)
    yield shards
    yield File.of(SHARDS, shards.content)
    yield File.of(f"{folder}/report.html", _report(store, folder))
    yield from (File.of(entry["path"], _read(store, entry["path"])) for entry in manifest.get("learned", ()))
    if shown_first is not None:
        yield shown_first
    yield from _token_files(store, settings, manifest, folder)
    if settings.include_data:
        yield from _rows_of(table)
        yield from _side_files(manifest)
        yield from _inventory(store, manifest)
    where = location(store, manifest)
    yield File.of(PUBLISHED, published_json(settings, manifest, raw, where, shown_first, _rows(shown_first)))
    text = published_card(
        manifest,
        repo_id=settings.repo_id,
        globs=data_globs(table.column("path").to_pylist()),
        preview_path=None if shown_first is None else shown_first.path,
        include_data=settings.include_data,
        location_uri=where["uri"],
        older=[orjson.loads(file.content) for file in older.values() if file.content is not None],
    )
    yield File.of(CARD, text.encode())


def _report(store: Store, folder: str) -> bytes:
    """The version's report without texts of documents: it shows dropped ones too, which nothing else that is published holds."""
    page = _read(store, f"{folder}/report.html")
    return without_documents(page.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _preview(store: Store, settings: PublishConfig, manifest: Mapping[str, Any], table: pa.Table) -> File | None:
    content = preview(store, manifest, table, settings.preview_documents)
    if content is None:
        return None
    return File.of(preview_path(manifest), content)


def _rows(file: File | None) -> int:
    return 0 if file is None or file.content is None else int(pq.read_metadata(io.BytesIO(file.content)).num_rows)


def _token_files(store: Store, settings: PublishConfig, manifest: Mapping[str, Any], folder: str) -> Iterator[File]:
    described = manifest["tables"].get("token_shards")
    if described is None:
        return
    table = File.of(f"{folder}/token_shards.parquet", _read(store, f"{folder}/token_shards.parquet"))
    if table.sha256 != described["sha256"]:
        raise InputError(f"{store.locate(table.path)}: its sha256 is {table.sha256}, the manifest says {described['sha256']}")
    yield table
    if settings.include_data:
        assert table.content is not None
        yield from _rows_of(pq.read_table(io.BytesIO(table.content), use_threads=False))


def _rows_of(table: pa.Table) -> Iterator[File]:
    """The files that a table names."""
    columns = [table.column(name).to_pylist() for name in ("path", "bytes", "sha256")]
    yield from (File(path, size, sha256) for path, size, sha256 in zip(*columns, strict=True))


def _side_files(manifest: Mapping[str, Any]) -> Iterator[File]:
    for name in ("dropped", "duplicates", "quarantine"):
        if name == "dropped" and has_dropped_texts(manifest):
            continue
        for file in manifest["tables"][name]["files"]:
            yield File(file["path"], file["bytes"], file["sha256"])


def has_dropped_texts(manifest: Mapping[str, Any]) -> bool:
    """Whether the drop tables also carry the input's columns, and so the texts that filters took out."""
    return bool(_output_of(manifest).get("dropped"))


def _output_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pipeline's section `output`."""
    found = manifest["config"].get("output")
    return found if isinstance(found, Mapping) else {}


def _inventory(store: Store, manifest: Mapping[str, Any]) -> Iterator[File]:
    path = str(manifest["input"]["inventory"])
    try:
        yield File(path, store.info(path).size, None)
    except NotFound:
        return  # `verify` says that rows of input files cannot be checked without it


def _read(store: Store, path: str) -> bytes:
    try:
        return store.read(path)
    except NotFound:
        raise InputError(
            f"{store.locate(path)}: it is missing, so this version cannot be published; `shardmill verify {store.uri}` says more"
        ) from None


def data_globs(paths: Sequence[str]) -> list[str]:
    """Patterns of the shards: one a version and plan, as a repo holds no others; each shard by itself where only that keeps their order."""
    patterns = data_patterns(paths, ())
    return list(paths) if len(patterns) > 1 and len(paths) <= MAX_LISTED else patterns


def location(store: Store, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Where the output lies, for whoever reads the repo: its URI, and what of its storage_options is no secret."""
    options = dict(store.options or _output_of(manifest).get("storage_options") or {})
    return {"uri": redact_uri(store.uri), "storage_options": public_options(options)}


def published_json(
    settings: PublishConfig, manifest: Mapping[str, Any], raw: bytes, where: Mapping[str, Any], first: File | None, rows: int
) -> bytes:
    """published.json: which version the repo holds, and where its data lie."""
    shown_first = None if first is None else {"path": first.path, "rows": rows, "bytes": first.num_bytes, "sha256": first.sha256}
    body = {
        "publish_version": PUBLISH_VERSION,
        "version": manifest["version"],
        "manifest_sha256": hashlib.sha256(raw).hexdigest(),
        "include_data": settings.include_data,
        "location": where,
        "preview": shown_first,
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


# --- checks


def _check_sizes(store: Store, files: Iterable[File]) -> None:
    """Every file that lies in the output is there, with the size that its table says; its digest is compared when it is sent."""
    wanted = {file.path: file for file in files if file.content is None and file.sha256 is not None}  # an inventory was asked for just now
    too_large = [path for path, file in wanted.items() if file.num_bytes > MAX_FILE_BYTES]
    problems = [f"{path} is above the Hub's {MAX_FILE_BYTES:,} bytes a file" for path in too_large]
    there: dict[str, int] = {}
    for folder in sorted({path.split("/")[0] for path in wanted}):
        there |= {info.path: info.size for info in store.list(folder) if info.path in wanted}
    for path, file in wanted.items():
        if path not in there:
            problems.append(f"{path} is missing")
        elif there[path] != file.num_bytes:
            problems.append(f"{path} has {there[path]} bytes, expected {file.num_bytes}")
    if problems:
        more = f" and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise InputError(
            f"{store.uri}: not as its manifest says, so it is not published: {'; '.join(problems[:MAX_PROBLEMS])}{more}; "
            f"`shardmill verify {store.uri}` says all"
        )
