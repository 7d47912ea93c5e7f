"""Real text that is on every machine with a Python: docstrings, long descriptions and documentation of what is installed.

Owns where the demo's documents come from and what counts as one. Knows the standard library only, never how shards are written. The result
is a function of the environment: the same Python and the same packages give the same documents in the same order.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

MIN_CHARS = 300
MAX_CHARS = 200_000
MAX_SOURCE_BYTES = 2_000_000
# Parsing is what takes the time, so only files of which at least this share is docstrings are parsed. Measured on the pinned
# packages: 20 MB of documents in 11 s; parsing every file gives 23 MB in 26 s.
MIN_DOCSTRING_SHARE = 0.15

_OWN_NAME = "shardmill"  # our README changes with every commit; the demo should not
# Copies of other projects carry other licences than the package they came in; tests hold generated text.
_NOT_THEIRS = frozenset(
    {"vendor", "_vendor", "_vendored", "vendored", "third_party", "thirdparty_files", "extern", "test", "tests", "site-packages"}
)
_TRIPLE_QUOTED = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_CONSOLE = re.compile(r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", re.MULTILINE)  # a session ends where a line is blank
_INLINE_MARKUP = re.compile(r"(?::[\w:]+:|(?<![\w`*]))(`{1,2}|\*{1,2})(?=\S)([^`*\n]+)(?<=\S)\1_{0,2}(?!\w)")
_UNDERLINE = re.compile(r"^[ \t]*([-=~^*+#\"'])\1{2,}[ \t]*$", re.MULTILINE)
_MARKUP = re.compile(r"[-*+|=~^#>.:@`<{\[(]|\d+[.)]|\w+\s*[:=]|.*::$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LICENCE_FILE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)
# Some packages state their whole licence text here; what is longer than an expression is no name.
_MAX_LICENCE_CHARS = 80


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the demo, before it has an id.

    Attributes:
        text: What the document says.
        url: Where it came from: a package URL (`pkg:pypi/numpy@2.4.6#numpy/linalg/_linalg.py:svd`) or a made-up address.
        lang: ISO 639-1 code where a person knows the language, else None.
        source: Name of the package, `python`, or the name of what was planted.
        licence: Licence of the package as its metadata states it; None where it states none.
    """

    text: str
    url: str
    lang: str | None
    source: str
    licence: str | None


def collect(names: Collection[str] | None = None) -> Iterator[Document]:
    """Yield every document of the standard library and the installed packages, in the order of their names.

    Args:
        names: Normalised names of the packages to read, `python` for the standard library; None: all.
    """
    if names is None or "python" in names:
        yield from _standard_library()
    for name, distribution in _distributions():
        if names is None or name in names:
            yield from _package(name, distribution)


def _distributions() -> list[tuple[str, metadata.Distribution]]:
    """Installed packages by normalised name; of two of one name the first on the path, which is the one that Python imports."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"] or "")).lower()
        if name and name != _OWN_NAME:
            found.setdefault(name, distribution)
    return sorted(found.items())


def _standard_library() -> Iterator[Document]:
    root = Path(sysconfig.get_paths()["stdlib"])
    version = ".".join(map(str, sys.version_info[:3]))
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    for file in files:
        if not _is_foreign(file):
            yield from _docstrings(root / file, f"pkg:generic/python@{version}#{file}", "python", "PSF-2.0")


def _package(name: str, distribution: metadata.Distribution) -> Iterator[Document]:
    licence = _licence_of(distribution.metadata)
    base = f"pkg:pypi/{name}@{distribution.version}"
    if (text := _long_description(distribution.metadata)) is not None:
        yield Document(text, base, None, name, licence)
    for file in sorted(str(path) for path in distribution.files or ()):
        path = Path(str(distribution.locate_file(file)))
        if file.startswith("..") or _is_foreign(file):
            continue
        if file.endswith(".py"):
            yield from _docstrings(path, f"{base}#{file}", name, licence)
        elif _is_documentation(path) and (text := _worth_reading(_read(path))) is not None:
            yield Document(text, f"{base}#{file}", None, name, licence)


def _is_foreign(file: str) -> bool:
    return not _NOT_THEIRS.isdisjoint(Path(file).parts)


def _is_documentation(path: Path) -> bool:
    return path.suffix in {".md", ".rst"} or _LICENCE_FILE.match(path.name) is not None


def _licence_of(fields: metadata.PackageMetadata) -> str | None:
    """The licence that a package states: its expression, else its short licence field, else its classifier."""
    stated = fields.get_all("License-Expression", []) + fields.get_all("License", [])
    names = [" ".join(text.split()) for text in stated]
    names += [text.rsplit(" :: ", 1)[-1] for text in fields.get_all("Classifier", []) if text.startswith("License :: ")]
    return next((name for name in names if 0 < len(name) <= _MAX_LICENCE_CHARS and name != "UNKNOWN"), None)


def _long_description(fields: metadata.PackageMetadata) -> str | None:
    body = fields.json.get("description")
    return _worth_reading(body) if isinstance(body, str) else None


def _read(path: Path) -> str | None:
    """The text of a file, None where it is missing, not UTF-8, or too long to be a document."""
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _worth_reading(text: str | None) -> str | None:
    """The text in one spelling of line ends, None where it is too short or too long, or cannot be written as UTF-8."""
    if text is None or _SURROGATE.search(text) is not None:
        return None
    text = text.replace("\r\n", "\n").strip()
    return text if MIN_CHARS <= len(text) <= MAX_CHARS else None


def _docstrings(path: Path, url: str, source: str, licence: str | None) -> Iterator[Document]:
    """Yield the docstrings of a file, each as one document."""
    code = _read(path)
    if code is None or _docstring_share(code) < MIN_DOCSTRING_SHARE:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):  # templates and code of other Pythons
        return
    for name, text in _named_docstrings(tree, ""):
        if (document := _worth_reading(as_on_a_page(text))) is not None:
            yield Document(document, f"{url}:{name}" if name else url, None, source, licence)


def _docstring_share(code: str) -> float:
    """About which share of a file's text is docstrings long enough to be documents; a regex, since it decides what is worth parsing."""
    long_enough = sum(len(match[2]) for match in _TRIPLE_QUOTED.finditer(code) if len(match[2]) >= MIN_CHARS)
    return long_enough / max(len(code), 1)


def _named_docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and docstring of a module, then of every class and function in it, in the order of the file."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
        yield name, text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _named_docstrings(child, f"{name}.{child.name}" if name else child.name)
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from _named_docstrings(child, name)


def as_on_a_page(text: str) -> str:
    """A docstring as a documentation site shows it: paragraphs on one line, inline markup and console sessions gone.

    Lists, signatures and tables stay as they are.
    """
    text = _INLINE_MARKUP.sub(r"\2", _UNDERLINE.sub("", _CONSOLE.sub("", text)))  # an underline leaves a blank line: its title stands alone
    blocks = (_paragraph(block) for block in _BLANK_LINES.split(text))
    return "\n\n".join(block for block in blocks if block.strip())


def _paragraph(block: str) -> str:
    lines = [line.rstrip() for line in block.strip("\n").split("\n")]
    indents = {len(line) - len(line.lstrip()) for line in lines}
    if len(indents) > 1 or any(_MARKUP.match(line.lstrip()) for line in lines):
        return "\n".join(lines)
    return " ".join(line.strip() for line in lines)
