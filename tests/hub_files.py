"""The loopback Hub's bytes: downloads with ranges, and LFS with uploads in one piece or in parts, on a port of its own.

LFS has another origin than the Hub, because the client follows redirects within the origin and then misses X-Repo-Commit.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hub_repos import Refused, Repo
from hub_state import Reply, Request, State, answer

Route = tuple[str, str, Callable[..., Reply]]
GIT = r"/datasets/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects"
LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


def hub_routes(state: State) -> list[Route]:
    """What is served on the Hub's port."""
    files = _Files(state)
    return [
        ("GET", r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", files.resolve),
        ("POST", f"{GIT}/batch", files.batch),
        ("POST", f"{GIT}/verify", files.verify),
        ("POST", r"/api/complete_multipart/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", files.complete),
    ]


def lfs_routes(state: State) -> list[Route]:
    """What is served on LFS's port; links there are signed and need no token."""
    files = _Files(state)
    return [
        ("GET", r"/repos/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", files.download),
        ("PUT", r"/repos/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", files.upload),
        ("PUT", r"/parts/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)", files.upload_part),
    ]


class _Files:
    def __init__(self, state: State) -> None:
        self._state = state

    # Downloads

    def resolve(self, request: Request, repo: str, revision: str, path: str) -> Reply:
        found = self._state.downloadable(request, repo)
        commit = found.commit_at(revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        blob = commit.files.get(path)
        if blob is None:
            raise Refused(404, "Entry not found", "EntryNotFound", headers)
        if blob.sha256 is None:
            return ranged(
                request, blob.data, {**headers, "ETag": f'"{blob.oid}"', "Content-Disposition": f"inline; filename*=UTF-8''{quote(path)}"}
            )
        link = self._state.signed(self._state.lfs_endpoint, f"/repos/{found.id}/{blob.sha256}")
        linked = {"X-Linked-Size": str(len(blob.data)), "X-Linked-ETag": f'"{blob.sha256}"', "ETag": f'"{blob.sha256}"', "Location": link}
        return Reply(302, {**headers, **linked, "Content-Type": "text/plain; charset=utf-8"}, f"Found. Redirecting to {link}".encode())

    def download(self, request: Request, repo: str, oid: str) -> Reply:
        self._state.check_signed(request)
        found = self._state.repos.get(repo)
        if found is None or oid not in found.lfs:
            raise Refused(404, "NoSuchKey")
        return ranged(request, found.lfs[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    # Uploads

    def batch(self, request: Request, repo: str) -> Reply:
        wanted = json.loads(request.body)
        revision = wanted.get("ref", {}).get("name", "main")
        # Whoever proposes a change to somebody else's repo uploads before there is a pull request.
        found, _ = self._state.writable(request, repo, may_propose=True)
        found.commit_at(revision)
        limit = self._state.settings.multipart_bytes
        parts = limit is not None and "multipart" in wanted["transfers"]
        objects = [self._upload_action(found, one, parts and one["size"] > (limit or 0)) for one in wanted["objects"]]
        return answer({"transfer": "multipart" if parts else "basic", "objects": objects}, headers=LFS_JSON)

    def _upload_action(self, repo: Repo, wanted: dict[str, Any], in_parts: bool) -> dict[str, Any]:
        oid, size = wanted["oid"], wanted["size"]
        if not re.fullmatch(r"[0-9a-f]{64}", oid):
            return {"oid": oid, "size": size, "error": {"code": 422, "message": "The id of an object must be its SHA-256"}}
        if oid in repo.lfs:
            return {"oid": oid, "size": size}
        upload: dict[str, Any] = {"href": self._state.signed(self._state.lfs_endpoint, f"/repos/{repo.id}/{oid}")}
        if in_parts:
            length = self._state.settings.part_bytes
            links = (
                self._state.signed(self._state.lfs_endpoint, f"/parts/{repo.id}/{oid}/{number + 1}") for number in range(-(-size // length))
            )
            header = {"chunk_size": str(length), **{f"{number:05}": link for number, link in enumerate(links, 1)}}
            upload = {"href": self._state.signed(self._state.hub_endpoint, f"/api/complete_multipart/{repo.id}/{oid}"), "header": header}
        verify = {"href": f"{self._state.hub_endpoint}/datasets/{repo.id}.git/info/lfs/objects/verify"}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    def upload(self, request: Request, repo: str, oid: str) -> Reply:
        self._state.check_signed(request)
        self._state.uploads[oid] += 1
        self._keep(repo, oid, request.body)
        return Reply(200, {"ETag": _etag(request.body)})

    def upload_part(self, request: Request, repo: str, oid: str, number: str) -> Reply:
        self._state.check_signed(request)
        self._state.part_uploads[oid, int(number)] += 1
        self._state.parts.setdefault(f"{repo}/{oid}", {})[int(number)] = request.body
        return Reply(200, {"ETag": _etag(request.body)})

    def complete(self, request: Request, repo: str, oid: str) -> Reply:
        self._state.check_signed(request)
        if oid in self._state.repos[repo].lfs:
            return answer({}, headers=LFS_JSON)  # asked again after a lost answer
        parts = self._state.parts.get(f"{repo}/{oid}", {})
        listed = json.loads(request.body)["parts"]
        if [part["partNumber"] for part in listed] != sorted(parts) or any(
            part["etag"] != _etag(parts[part["partNumber"]]) for part in listed
        ):
            raise Refused(400, "InvalidPart: the list of parts is not what was uploaded")
        self._state.uploads[oid] += 1
        whole = b"".join(parts[number] for number in sorted(parts))
        self._state.received.append(whole)
        self._keep(repo, oid, whole)
        del self._state.parts[f"{repo}/{oid}"]
        return answer({}, headers=LFS_JSON)

    def _keep(self, repo: str, oid: str, data: bytes) -> None:
        if repo not in self._state.repos:
            raise Refused(404, "NoSuchBucket")
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, "XAmzContentSHA256Mismatch: the bytes are not those of the object")
        self._state.repos[repo].lfs[oid] = data

    def verify(self, request: Request, repo: str) -> Reply:
        found, _ = self._state.writable(request, repo, may_propose=True)
        wanted = json.loads(request.body)
        if len(found.lfs.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(404, f"LFS has no object {wanted['oid']} of {wanted['size']} bytes")
        return answer({}, headers=LFS_JSON)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def ranged(request: Request, data: bytes, headers: dict[str, str]) -> Reply:
    """The bytes, or the range of them that is asked for."""
    headers = {"Content-Type": "application/octet-stream", **headers}
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if found is None or found[0] == "bytes=-":
        return Reply(200, headers, data)
    first, last = found.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(len(data), int(last) + 1) if first and last else len(data)
    if start >= stop:
        return Reply(416, {**headers, "Content-Range": f"bytes */{len(data)}"})
    return Reply(206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop])
