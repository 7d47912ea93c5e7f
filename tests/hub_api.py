"""The loopback Hub's JSON endpoints: accounts, repos, revisions, commits."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import hub_discussions
import hub_files
from hub_card import card_of, checked_card
from hub_faults import Limits
from hub_repos import Blob, Commit, Operation, Refused, Repo, applied, parents
from hub_state import Reply, Request, State, User, answer, owns

Handler = Callable[..., Reply]
REPO = r"/api/datasets/(?P<repo>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"
EXPANDED_PAGE_ENTRIES = 50


class Api:
    """Answers requests, one at a time."""

    def __init__(self, state: State, limits: Limits) -> None:
        self.state = state
        self.limits = limits
        hub = [
            ("GET", "/api/whoami-v2", self.whoami),
            ("POST", "/api/validate-yaml", self.validate_yaml),
            ("POST", "/api/repos/create", self.create_repo),
            ("DELETE", "/api/repos/delete", self.delete_repo),
            ("PUT", f"{REPO}/settings", self.change_settings),
            ("GET", f"{REPO}/auth-check(?P<write>/write)?", self.auth_check),
            ("GET", f"{REPO}(/revision/{REVISION})?", self.info),
            ("GET", f"{REPO}/tree/{REVISION}(/(?P<path>.*))?", self.tree),
            ("POST", f"{REPO}/paths-info/{REVISION}", self.paths_info),
            ("GET", f"{REPO}/refs", self.refs),
            ("GET", f"{REPO}/commits/{REVISION}", self.commits),
            ("POST", f"{REPO}/preupload/{REVISION}", self.preupload),
            ("POST", f"{REPO}/commit/{REVISION}", self.commit),
            ("POST", f"{REPO}/branch/(?P<name>[^/]+)", self.create_branch),
            ("DELETE", f"{REPO}/branch/(?P<name>[^/]+)", self.delete_branch),
            ("POST", f"{REPO}/tag/{REVISION}", self.create_tag),
            ("DELETE", f"{REPO}/tag/(?P<name>[^/]+)", self.delete_tag),
            ("POST", f"{REPO}/super-squash/{REVISION}", self.squash),
        ]
        routes = {"hub": hub + hub_discussions.routes(state, limits) + hub_files.hub_routes(state), "lfs": hub_files.lfs_routes(state)}
        self._routes = {server: [(method, re.compile(path), handler) for method, path, handler in some] for server, some in routes.items()}

    def handle(self, request: Request) -> Reply:
        """Do what is asked, under the lock; a refusal is an answer too."""
        with self.state.lock:
            try:
                counted = self._counted(request)
                reply = self._routed(request)
            except Refused as refused:
                return answer({"error": refused.reason}, refused.status, refused.headers)
            except (ValueError, KeyError, TypeError) as error:
                return answer({"error": f"Bad request: {error!r}"}, 400)
            except Exception as error:  # noqa: BLE001 - the test is told at its end
                self.state.errors.append(error)
                return answer({"error": repr(error)}, 500)
            return Reply(reply.status, {**counted, **reply.headers}, reply.body)

    def _counted(self, request: Request) -> dict[str, str]:
        if not request.path.startswith("/api/"):
            return {}
        user = self.state.user(request)
        return self.limits.count_request(user.name if user else "", self.state.clock)

    def _routed(self, request: Request) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        for known, pattern, handler in self._routes[request.server]:
            if known == method and (found := pattern.fullmatch(request.path)):
                return handler(request, **{name: value and unquote(value) for name, value in found.groupdict().items()})
        raise Refused(404, f"Sorry, we can't find the page you are looking for: {request.method} {request.path}")

    # Accounts and repos

    def whoami(self, request: Request) -> Reply:
        user = self.state.signed_in(request)
        orgs = [{"type": "org", "name": name, "fullname": name, "roleInOrg": user.role} for name in user.orgs]
        token = {"displayName": f"{user.role} token", "role": user.role}
        return answer(
            {"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}}
        )

    def validate_yaml(self, request: Request) -> Reply:
        problems, warnings = checked_card(json.loads(request.body)["content"])
        return answer({"errors": problems, "warnings": warnings}, 400 if problems else 200)

    def create_repo(self, request: Request) -> Reply:
        wanted = json.loads(request.body)
        user = self.state.signed_in(request)
        name = f"{wanted.get('organization') or user.name}/{wanted['name']}"
        if wanted.get("type") != "dataset":
            raise Refused(400, "This Hub has datasets only")
        if user.role != "write" or not owns(user, name):
            raise Refused(403, f"You don't have the rights to create a dataset under the namespace {name.partition('/')[0]!r}")
        url = f"{self.state.hub_endpoint}/datasets/{name}"
        if name in self.state.repos:
            return answer({"error": "You already created this dataset repo", "url": url}, 409)
        self.state.add_repo(name, user.name).is_private = wanted.get("visibility") == "private"
        return answer({"url": url, "name": name})

    def delete_repo(self, request: Request) -> Reply:
        wanted = json.loads(request.body)
        user = self.state.signed_in(request)
        repo, _ = self.state.writable(request, f"{wanted.get('organization') or user.name}/{wanted['name']}")
        del self.state.repos[repo.id]
        return answer({})

    def change_settings(self, request: Request, repo: str) -> Reply:
        changed, _ = self.state.writable(request, repo)
        wanted = json.loads(request.body)
        changed.is_private = wanted.get("visibility", "private" if changed.is_private else "public") == "private"
        changed.gated = wanted.get("gated", changed.gated)
        return answer({"private": changed.is_private})

    def auth_check(self, request: Request, repo: str, write: str | None) -> Reply:
        if write:
            self.state.writable(request, repo)
        else:
            self.state.downloadable(request, repo)
        return answer({})

    # Reading

    def info(self, request: Request, repo: str, revision: str | None) -> Reply:
        found = self.state.readable(request, repo)
        commit = found.commit_at(revision or "main")
        card = card_of(commit.files["README.md"].data) if "README.md" in commit.files else None
        facts = {
            "_id": f"{sum(repo.encode()):024x}",
            "id": found.id,
            "author": found.id.partition("/")[0],
            "sha": commit.oid,
            "createdAt": found.created,
            "lastModified": commit.date,
            "private": found.is_private,
            "gated": found.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "usedStorage": sum(map(len, found.lfs.values())),
            "siblings": [_sibling(path, blob, request.flag("blobs")) for path, blob in commit.files.items()],
        }
        return answer(facts | ({"cardData": card} if card else {}))

    def tree(self, request: Request, repo: str, revision: str, path: str | None) -> Reply:
        found = self.state.downloadable(request, repo)
        commit = found.commit_at(revision)
        folder = path.rstrip("/") + "/" if path else ""
        if folder and not any(name.startswith(folder) for name in commit.files):
            raise Refused(404, f"{path} does not exist on {revision!r}", "EntryNotFound", {"X-Repo-Commit": commit.oid})
        names = {name for name in {*commit.files, *_folders(commit)} if name.startswith(folder) and name != folder.rstrip("/")}
        if not request.flag("recursive"):
            names = {name for name in names if "/" not in name.removeprefix(folder)}
        entries = [_entry(found, commit, name, request.flag("expand")) for name in sorted(names)]
        return self._page(request, entries, EXPANDED_PAGE_ENTRIES if request.flag("expand") else None)

    def paths_info(self, request: Request, repo: str, revision: str) -> Reply:
        found = self.state.downloadable(request, repo)
        commit = found.commit_at(revision)
        if "json" in request.headers.get("Content-Type", ""):
            form = json.loads(request.body)
        else:
            form = parse_qs(request.body.decode(), keep_blank_values=True)
        known = {*commit.files, *_folders(commit)}
        expand = str(form.get("expand", ["false"])).lower().find("true") >= 0
        return answer([_entry(found, commit, path, expand) for path in form.get("paths", []) if path in known])

    def refs(self, request: Request, repo: str) -> Reply:
        found = self.state.readable(request, repo)
        lists = {
            "branches": [_ref(name, f"refs/heads/{name}", oid) for name, oid in found.branches.items()],
            "tags": [_ref(name, f"refs/tags/{name}", oid) for name, oid in found.tags.items()],
            "converts": [],
        }
        if request.flag("include_prs"):
            lists["pullRequests"] = [_ref(str(pull.num), pull.ref, pull.head) for pull in found.pulls.values() if pull.is_pull]
        return answer(lists)

    def commits(self, request: Request, repo: str, revision: str) -> Reply:
        found = self.state.readable(request, repo)
        shown = [
            {"id": commit.oid, "title": commit.title, "message": commit.message, "date": commit.date, "authors": [{"user": commit.author}]}
            for commit in found.ancestors(revision)
        ]
        return self._page(request, shown)

    def _page(self, request: Request, entries: list[Any], most: int | None = None) -> Reply:
        """A page, with a link to the next one behind it."""
        size = min(self.state.settings.page_entries, most or self.state.settings.page_entries)
        start = int(request.query.get("cursor", 0))
        more = urlencode({**request.query, "cursor": start + size})
        link = {"Link": f'<{self.state.hub_endpoint}{request.path}?{more}>; rel="next"'} if start + size < len(entries) else {}
        return answer(entries[start : start + size], headers=link)

    # Writing

    def preupload(self, request: Request, repo: str, revision: str) -> Reply:
        found, _ = self.state.writable(request, repo, may_propose=request.flag("create_pr") or revision.startswith("refs/pr/"))
        files, wanted = found.commit_at(revision).files, json.loads(request.body)
        there = files[".gitignore"].data.decode() if ".gitignore" in files else ""
        ignored = [line for line in wanted.get("gitIgnore", there).splitlines() if line and not line.startswith("#")]
        return answer({"files": [self._upload_mode(found, revision, file, files.get(file["path"]), ignored) for file in wanted["files"]]})

    def _upload_mode(self, repo: Repo, revision: str, file: dict[str, Any], old: Blob | None, ignored: list[str]) -> dict[str, Any]:
        is_binary = b"\0" in base64.b64decode(file["sample"])
        is_lfs = file["size"] >= self.state.settings.lfs_bytes or is_binary or repo.is_lfs_path(file["path"], revision)
        known = {"oid": old.sha256 or old.oid} if old else {}
        is_ignored = any(fnmatch(file["path"], line) for line in ignored)  # only patterns of whole paths are understood
        return {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": is_ignored, **known}

    def commit(self, request: Request, repo: str, revision: str) -> Reply:
        found, user = self.state.writable(request, repo, may_propose=request.flag("create_pr") or revision.startswith("refs/pr/"))
        self.limits.check_commit(found.id, self.state.clock)
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        if not lines or lines[0]["key"] != "header":
            raise Refused(400, "The first line of a commit must be its header")
        operations = [self._operation(found, line["key"], line["value"]) for line in lines[1:]]
        regular = sum(len(operation.blob.data) for operation in operations if operation.blob and not operation.blob.sha256)
        self.limits.check_size(len(operations), regular)
        reply = self._committed(found, user, revision, operations, lines[0]["value"], request.flag("create_pr"))
        self.limits.count_commit(found.id, self.state.clock)
        return answer(reply)

    def _committed(
        self, repo: Repo, user: User, revision: str, operations: list[Operation], header: dict[str, Any], proposed: bool
    ) -> dict[str, Any]:
        title, message, parent = header["summary"], header.get("description", ""), header.get("parentCommit")
        page = f"{self.state.hub_endpoint}/datasets/{repo.id}"
        extra = {}
        if proposed:
            if revision != "main":
                raise Refused(400, "A pull request can be made on main only")
            base = repo.commit_at(parent or "main")
            applied(base.files, operations)
            pull = repo.open_pull(title, message, user.name, base.oid, "open")
            revision, parent, extra = pull.ref, None, {"pullRequestUrl": f"{page}/discussions/{pull.num}"}
        made = repo.commit(revision, operations, title, message, user.name, parent)
        return {"success": True, "commitOid": made.oid, "commitUrl": f"{page}/commit/{made.oid}", "hookOutput": "", **extra}

    def _operation(self, repo: Repo, kind: str, value: dict[str, Any]) -> Operation:
        match kind:
            case "file":
                data = base64.b64decode(value["content"], validate=True)
                self.state.received.append(data)
                if len(data) > self.state.settings.lfs_bytes:
                    raise Refused(400, f"{value['path']}: files larger than {self.state.settings.lfs_bytes} bytes must be in LFS")
                return Operation(kind, value["path"], Blob.regular(data))
            case "lfsFile":
                data = repo.lfs.get(value["oid"])  # type: ignore[assignment] - refused below
                if data is None or value.get("size", len(data)) != len(data):
                    raise Refused(400, f"{value['path']}: LFS has no object {value['oid']} of {value.get('size', 'that')} bytes")
                return Operation(kind, value["path"], Blob.lfs(data, value["oid"]))
            case "deletedFile" | "deletedFolder":
                return Operation(kind, value["path"])
            case _:
                raise Refused(400, f"Unknown line in a commit: {kind!r}")

    def create_branch(self, request: Request, repo: str, name: str) -> Reply:
        changed, _ = self.state.writable(request, repo)
        changed.create_branch(name, json.loads(request.body or b"{}").get("startingPoint"))
        return answer({})

    def delete_branch(self, request: Request, repo: str, name: str) -> Reply:
        changed, _ = self.state.writable(request, repo)
        if name == "main":
            raise Refused(403, "Cannot delete the main branch")
        if changed.branches.pop(name, None) is None:
            raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return answer({})

    def create_tag(self, request: Request, repo: str, revision: str) -> Reply:
        changed, _ = self.state.writable(request, repo)
        changed.create_tag(json.loads(request.body)["tag"], revision)
        return answer({})

    def delete_tag(self, request: Request, repo: str, name: str) -> Reply:
        changed, _ = self.state.writable(request, repo)
        if changed.tags.pop(name, None) is None:
            raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return answer({})

    def squash(self, request: Request, repo: str, revision: str) -> Reply:
        changed, user = self.state.writable(request, repo)
        changed.squash(revision, json.loads(request.body)["message"], user.name)
        return answer({})


def _ref(name: str, ref: str, oid: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": oid}


def _folders(commit: Commit) -> set[str]:
    return {folder for path in commit.files for folder in parents(path)}


def _sibling(path: str, blob: Blob, sizes: bool) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": blob.pointer_bytes}} if blob.sha256 else {}
    return {"rfilename": path, **({"size": len(blob.data), "blobId": blob.oid, **lfs} if sizes else {})}


def _entry(repo: Repo, commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """A file or a folder of a tree; `expand`: with the commit that changed it last."""
    blob = commit.files.get(path)
    last = _last_change(repo, commit, path) if expand else None
    shown: dict[str, Any] = {"lastCommit": {"id": last.oid, "title": last.title, "date": last.date}} if last else {}
    if blob is None:
        return {"type": "directory", "path": path, "size": 0, "oid": f"{sum(path.encode()):040x}", **shown}
    lfs = {"lfs": {"oid": blob.sha256, "size": len(blob.data), "pointerSize": blob.pointer_bytes}} if blob.sha256 else {}
    return {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid, **lfs, **shown}


def _last_change(repo: Repo, commit: Commit, path: str) -> Commit:
    def below(some: Commit) -> list[tuple[str, str]]:
        return [(name, blob.oid) for name, blob in some.files.items() if name == path or name.startswith(path + "/")]

    last, now = commit, below(commit)
    for older in repo.ancestors(commit.oid):
        if below(older) != now:
            break
        last = older
    return last
