"""The loopback Hub's discussions and pull requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hub_faults import Limits
from hub_repos import Pull, Refused, Repo
from hub_state import Reply, Request, State, answer, owns

ALL = r"/api/datasets/(?P<repo>[^/]+/[^/]+)/discussions"
ONE = ALL + r"/(?P<num>\d+)"


def routes(state: State, limits: Limits) -> list[tuple[str, str, Callable[..., Reply]]]:
    """Method, path and handler."""
    discussions = _Discussions(state, limits)
    return [
        ("GET", ALL, discussions.listing),
        ("POST", ALL, discussions.create),
        ("GET", ONE, discussions.details),
        ("POST", f"{ONE}/comment", discussions.comment),
        ("POST", f"{ONE}/title", discussions.rename),
        ("POST", f"{ONE}/status", discussions.status),
        ("POST", f"{ONE}/merge", discussions.merge),
        ("POST", f"{ONE}/comment/(?P<event>[^/]+)/edit", discussions.edit),
    ]


class _Discussions:
    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits

    def listing(self, request: Request, repo: str) -> Reply:
        found = self._state.readable(request, repo)
        wanted = request.query
        pulls = [
            pull
            for pull in found.pulls.values()
            if wanted.get("type", "all") in ("all", "pull_request" if pull.is_pull else "discussion")
            and wanted.get("status", "all") in ("all", "closed" if pull.status in {"closed", "merged"} else "open")
            and wanted.get("author", pull.author) == pull.author
        ]
        page, size = int(wanted.get("p", 0)), self._state.settings.page_entries
        shown = [_shown(found, pull) for pull in reversed(pulls)]
        return answer({"count": len(shown), "start": page * size, "discussions": shown[page * size : (page + 1) * size]})

    def create(self, request: Request, repo: str) -> Reply:
        found, user = self._state.writable(request, repo, may_propose=True)
        wanted = json.loads(request.body)
        if not 3 <= len(wanted["title"]) <= 200:
            raise Refused(400, "The title must have 3 to 200 characters")
        pull = found.open_pull(wanted["title"], wanted["description"], user.name, is_pull=bool(wanted["pullRequest"]))
        return answer(
            {"num": pull.num, "pullRequest": pull.is_pull, "url": f"{self._state.hub_endpoint}/datasets/{repo}/discussions/{pull.num}"}
        )

    def details(self, request: Request, repo: str, num: str) -> Reply:
        found = self._state.readable(request, repo)
        pull = found.pull(int(num))
        facts = {**_shown(found, pull), "events": pull.events}
        if not pull.is_pull:
            return answer(facts)
        changes = {"base": "refs/heads/main", **({"mergeCommitId": pull.merge_commit} if pull.merge_commit else {})}
        conflicts = [] if pull.status == "merged" else found.conflicts(pull)
        return answer({**facts, "changes": changes, "filesWithConflicts": conflicts, "diff": _diff(found, pull)})

    def comment(self, request: Request, repo: str, num: str) -> Reply:
        found, user = self._state.writable(request, repo, may_propose=True)
        return answer({"newMessage": found.comment(int(num), user.name, json.loads(request.body)["comment"])})

    def edit(self, request: Request, repo: str, num: str, event: str) -> Reply:
        found, user = self._state.writable(request, repo, may_propose=True)
        known: list[dict[str, Any]] = [one for one in found.pull(int(num)).events if one["id"] == event]
        if not known or known[0]["author"] != {"name": user.name}:
            raise Refused(403 if known else 404, "No such comment of yours")
        known[0]["data"] = {**known[0]["data"], "edited": True, "latest": {"raw": json.loads(request.body)["content"]}}
        return answer({"updatedComment": known[0]})

    def rename(self, request: Request, repo: str, num: str) -> Reply:
        found, user = self._state.writable(request, repo, may_propose=True)
        pull = found.pull(int(num))
        event = found.event("title-change", user.name, {"from": pull.title, "to": json.loads(request.body)["title"]})
        pull.title = json.loads(request.body)["title"]
        pull.events.append(event)
        return answer({"newTitle": event})

    def status(self, request: Request, repo: str, num: str) -> Reply:
        found, user = self._state.writable(request, repo, may_propose=True)
        wanted = json.loads(request.body)
        if user.name != found.pull(int(num)).author and not owns(user, found.id):
            raise Refused(403, "Only the author and owners of the repo may change the status")
        if wanted["status"] not in {"open", "closed"}:
            raise Refused(400, f"Unknown status: {wanted['status']}")
        if wanted.get("comment"):
            found.comment(int(num), user.name, wanted["comment"])
        return answer({"newStatus": found.set_status(int(num), wanted["status"], user.name)})

    def merge(self, request: Request, repo: str, num: str) -> Reply:
        found, user = self._state.writable(request, repo)
        self._limits.check_commit(found.id, self._state.clock)
        found.merge(int(num), user.name)
        self._limits.count_commit(found.id, self._state.clock)
        return answer({"mergedCommit": found.head("main")})


def _shown(repo: Repo, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.num,
        "title": pull.title,
        "status": pull.status,
        "author": {"name": pull.author},
        "createdAt": pull.created,
        "isPullRequest": pull.is_pull,
        "repo": {"name": repo.id, "type": "dataset"},
    }


def _diff(repo: Repo, pull: Pull) -> str:
    """The names of the changed files, as `git diff --name-status` shows them."""
    base, head = repo.commit_at(pull.base).files, repo.commit_at(pull.head).files
    changed = [path for path in sorted({*base, *head}) if base.get(path) != head.get(path)]
    return "".join(f"{'A' if path not in base else 'D' if path not in head else 'M'}\t{path}\n" for path in changed)
