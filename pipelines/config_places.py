"""Where a URI points, as far as its text tells: its scheme, whether it is a pattern, and whether two of them overlap.

Owns the comparison of an input's patterns with an output's folder. Never asks a store.
"""

from __future__ import annotations

import os.path
import posixpath
import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MAGIC = re.compile(r"[*?\[]")
_LOCAL = ("", "file", "local")
_SAME = {"s3a": "s3", "gcs": "gs"}
# Paths that a finished output holds, one of each kind; an input that matches one would feed on what it wrote.
_WRITTEN = (
    "README.md",
    "manifest.json",
    "data/v1/part-00000-0a1b2c3d.parquet",
    "data/v1/1/part-05000-0a1b2c3d.parquet",
    "data/v1/language=en/part-00000-0a1b2c3d.parquet",
    "versions/v1/manifest.json",
    "versions/v1/shards.parquet",
    "versions/v1/dropped/part-00000.parquet",
    "_shardmill/parts/0a/part-00000.parquet",
    "_shardmill/parts/0a/1b/part-00000.parquet",
)


def scheme_of(uri: str) -> str:
    """The scheme of a URI in lower case; empty for a plain path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def local_path(uri: str) -> str:
    """A URI without its scheme."""
    return uri.partition("://")[2] if _SCHEME.match(uri) else uri


def is_pattern(uri: str) -> bool:
    """Whether a URI holds `*`, `?` or `[`, which match names."""
    return _MAGIC.search(local_path(uri)) is not None


def reads_own_output(pattern: str, output: str) -> bool:
    """Whether an input pattern lies in the output's folder, or matches a file that the output will hold."""
    (kind, path), (output_kind, root) = _place(pattern), _place(output)
    if kind != output_kind:
        return False
    if path == root or path.startswith(root.rstrip("/") + "/"):
        return True
    if not is_pattern(pattern):
        return root.startswith(path.rstrip("/") + "/")
    expression = _glob(path)
    return expression is not None and any(expression.fullmatch(posixpath.join(root, written)) for written in _WRITTEN)


def _place(uri: str) -> tuple[str, str]:
    """The kind of store and the normal path in it; a plain path counts from the working directory."""
    scheme = scheme_of(uri)
    kind = "" if scheme in _LOCAL else _SAME.get(scheme, scheme)
    path = local_path(uri)
    return kind, os.path.abspath(path) if kind == "" else posixpath.normpath("/" + path.lstrip("/"))  # noqa: PTH100  (no file is asked for)


def _glob(pattern: str) -> re.Pattern[str] | None:
    """The regular expression of a glob: `**` crosses folders, `*` and `?` don't; None if it is no glob, which the listing will say."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]+\])", pattern)
    try:
        return re.compile("".join(_glob_part(part) for part in parts), re.DOTALL)
    except re.error:
        return None


def _glob_part(part: str) -> str:
    match part:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        body = part[1:-1].replace("\\", r"\\")
        return f"[^{body[1:]}]" if body[0] in "!^" and len(body) > 1 else f"[{body}]"
    return re.escape(part)
