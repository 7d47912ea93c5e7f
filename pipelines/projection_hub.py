"""What publishing a run's version takes of the Hub: files, bytes, commits, and the time that its limits make it take. Pure.

The files are cut into commits by the very code that publishes; only what is in them is expected, not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipelines.projection_census import Census
from pipelines.projection_output import Output
from pipelines.publish_files import File
from pipelines.publish_plan import COMMITS_PER_HOUR, FILES_PER_COMMIT, MAX_REPO_FILES, Todo

SMALL_BYTES: Final = 20_000
"""Of the manifest, the card and the like."""
REPORT_BYTES: Final = 1_500_000
"""Of report.html, which brings what draws its charts."""
MAX_LISTED_FILES: Final = 1_000_000
"""More are not cut into commits one by one."""


def hub_of(census: Census, output: Output) -> dict[str, Any] | None:
    """What `publish` will do; None where the pipeline publishes nothing."""
    settings = census.config.publish
    if settings is None:
        return None
    files = list(_files(census, output))
    most = _most_files(output) if settings.include_data else len(files)
    commits = Todo(tuple(files), ()).num_commits if most <= MAX_LISTED_FILES else -(-most // FILES_PER_COMMIT)
    return {
        "repo_id": settings.repo_id,
        "include_data": settings.include_data,
        "files": most if most > MAX_LISTED_FILES else len(files),
        "bytes": round(sum(file.num_bytes for file in files)),
        "commits": commits,
        "least_seconds": 3600 * ((commits - 1) // COMMITS_PER_HOUR),
        "is_above_limit": most > MAX_REPO_FILES,
    }


def _most_files(output: Output) -> int:
    tokens = 0 if output.token_files is None else round(output.token_files.value)
    return round(output.shards.value) + tokens


def _files(census: Census, output: Output) -> Iterator[File]:
    """The files of a version in the order in which they are sent."""
    settings = census.config.publish
    assert settings is not None
    shards = max(1, round(output.shards.value))
    if settings.include_data and _most_files(output) <= MAX_LISTED_FILES:
        yield from (_file(f"data/{number}", output.bytes.value / shards) for number in range(shards))
        if output.token_files is not None and output.token_bytes is not None:
            tokens = max(1, round(output.token_files.value))
            yield from (_file(f"tokens/{number}", output.token_bytes.value / tokens) for number in range(tokens))
        yield from (_file(name, size.value) for name, size in output.table_bytes.items())
        yield _file("inventory", 200 * census.files + 20 * census.row_groups)
    yield _file("shards.parquet", 100 * shards)
    yield _file("versions/shards.parquet", 100 * shards)
    yield _file("report.html", REPORT_BYTES)
    if settings.preview_documents:
        rows = max(output.rows.value, 1.0)
        yield _file("preview", output.bytes.value * min(1.0, settings.preview_documents / rows))
    yield from (_file(name, SMALL_BYTES) for name in ("manifest.json", "versions/manifest.json", "published.json", "README.md"))


def _file(path: str, size: float) -> File:
    return File(path, round(size), None)
