"""Assets of operators: models, lists, tables and tokenizers, named by URI, identified by their content, kept once on each machine.

An asset is a file, or a folder, which counts as the archive of its files. What a run planned with is what its workers use, or it stops.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from cluster.shipping import shipped_file
from pipelines.commit import new_attempt
from pipelines.config_yaml import read_data
from pipelines.errors import InputChanged, InputError, NotFound, shown
from pipelines.redaction import redact_uri
from pipelines.storage import Sources

CHUNK_BYTES = 32 << 20
ARCHIVES = (".tar", ".tar.gz", ".tgz")
TABLE_EXTENSIONS = (".yml", ".yaml")
MAX_TABLE_BYTES = 16 << 20
MAX_NAME_CHARS = 50

_CHECKED: set[Path] = set()
"""Local copies whose content this process has checked: a machine that stopped may have left half of one."""


def asset_digest(sources: Sources, uri: str) -> str:
    """sha256 of an asset's content; of a folder, that of the archive of its files.

    Raises:
        NotFound: There is neither a file nor a folder.
    """
    state = sha256()
    for chunk in _content(sources, uri):
        state.update(chunk)
    return state.hexdigest()


def local_asset(sources: Sources, uri: str, expected: str) -> Path:
    """Path of a local copy of an asset with the sha256 expected; of a folder, of its archive.

    Raises:
        InputChanged: What lies at the uri has another content.
        InputError: It is not there for this machine.
    """
    shipped = shipped_file(expected)
    content = _content(sources, uri) if shipped is None else _chunks(shipped)
    try:
        return local_copy(content, _name(uri), expected, f"asset {redact_uri(uri)}")
    except NotFound as error:
        raise InputError(
            f"asset {redact_uri(uri)}: there is no such file on this node ({error.message}); put it where every node reads it, such as "
            "an object store or a shared folder; only small ones are shipped to the workers"
        ) from error


def local_copy(content: Iterable[bytes], name: str, expected: str, subject: str = "") -> Path:
    """Path of a file on this machine with some content, which has the sha256 expected and is only read where there is no such file.

    Raises:
        InputChanged: It is another content; `subject` says whose.
    """
    folder = _folder(expected)
    path = folder / name
    if path in _CHECKED:
        return path
    if not path.exists() or _file_digest(path) != expected:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = folder / f".{new_attempt()}"
        try:
            _fetch(content, subject or name, expected, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    _CHECKED.add(path)
    return path


def asset_tables(sources: Sources, uri: str, expected: str) -> Mapping[str, Mapping[str, Any]]:
    """The parsed YAML files of an archive or folder, by their names without extension, in alphabetical order; parsed once a machine.

    Keys that are numbers become strings.

    Raises:
        InputError: It is neither, one of its files is no YAML table, or two have one name.
        InputChanged: What lies at the uri has another content.
    """
    archive = local_asset(sources, uri, expected)
    parsed = archive.with_name(f"{archive.name}.tables.json")
    tables: Mapping[str, Mapping[str, Any]]
    try:
        tables = orjson.loads(parsed.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):  # the latter: a machine that stopped left half of it
        content = orjson.dumps(_tables(archive, redact_uri(uri)), option=orjson.OPT_NON_STR_KEYS)
        temporary = archive.with_name(f".{new_attempt()}")
        temporary.write_bytes(content)
        temporary.replace(parsed)
        tables = orjson.loads(content)
    return tables


def _fetch(content: Iterable[bytes], subject: str, expected: str, path: Path) -> None:
    state = sha256()
    with path.open("xb") as file:
        for chunk in content:
            state.update(chunk)
            file.write(chunk)
    found = state.hexdigest()
    if found != expected:
        raise InputChanged(f"{subject} changed while the run was going on: sha256 {found[:12]}…, planned with {expected[:12]}…; run again")


def _content(sources: Sources, uri: str) -> Iterator[bytes]:
    """The bytes of an asset, a bounded piece at a time: models have gigabytes."""
    uri = uri.rstrip("/")
    try:
        size, etag = (found := sources.info(uri)).size, found.etag
    except (NotFound, IsADirectoryError):
        yield from _archive(sources, uri)
        return
    for start in range(0, size, CHUNK_BYTES):
        yield sources.read_range(uri, start, min(size, start + CHUNK_BYTES), etag=etag)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _archive(sources: Sources, uri: str) -> Iterator[bytes]:
    """A folder's files as a tar archive that depends on their names and contents alone."""
    base = uri + "/"
    try:
        found = sources.find([base + "**"])
    except InputError as error:
        raise NotFound(f"{uri}: there is neither a file nor a folder with files") from error
    for source in found:
        data = sources.read(source.uri, etag=source.etag)
        member = tarfile.TarInfo(source.uri.removeprefix(base).lstrip("/"))
        member.size = len(data)
        yield member.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _tables(archive: Path, uri: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                name = member.name.rsplit("/", 1)[-1]
                if not member.isfile() or not name.endswith(TABLE_EXTENSIONS) or name.startswith("."):
                    continue
                table = name.rsplit(".", 1)[0]
                if table in found:
                    raise InputError(f"{uri}: {member.name}: there is another file {table!r} in it; expected one a language; remove one")
                found[table] = _table(opened, member, uri)
    except (tarfile.TarError, EOFError, OSError) as error:
        expected = f"a folder of YAML files or an archive of them ({', '.join(ARCHIVES)})"
        raise InputError(f"{uri}: it is no archive that can be read ({shown(error)}); expected {expected}") from error
    return dict(sorted(found.items()))


def _table(opened: tarfile.TarFile, member: tarfile.TarInfo, uri: str) -> Mapping[str, Any]:
    file = opened.extractfile(member)
    assert file is not None
    try:
        text = io.TextIOWrapper(file, "utf-8").read(MAX_TABLE_BYTES)
    except UnicodeDecodeError as error:
        raise InputError(f"{uri}: {member.name}: it is not UTF-8: {shown(error)}") from error
    data = read_data(text, f"{uri}: {member.name}")
    if not isinstance(data, dict):
        raise InputError(f"{uri}: {member.name}: found no table; expected YAML keys and values")
    return data


def _file_digest(path: Path) -> str:
    state = sha256()
    for chunk in _chunks(path):
        state.update(chunk)
    return state.hexdigest()


def _name(uri: str) -> str:
    """Name of the local copy: the last part of the path. A signed URL's query is a secret, and longer than a file name may be."""
    path = urlsplit(uri).path if "://" in uri else uri
    return path.rstrip("/").rsplit("/", 1)[-1][-MAX_NAME_CHARS:] or "asset"


def _folder(digest: str) -> Path:
    return Path(tempfile.gettempdir()) / f"shardmill-assets-{os.getuid()}" / digest
