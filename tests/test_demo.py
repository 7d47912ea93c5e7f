"""The demo's input: real documents, the same each time, with something in them for every operator of the quickstart."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines import demo
from pipelines.demo_documents import MIN_CHARS, Document, as_on_a_page, collect
from pipelines.demo_planted import paragraphs

PACKAGES = {"click", "pyarrow", "werkzeug"}
MAX_BYTES = 500_000


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    summary = demo.build(folder, max_bytes=MAX_BYTES, names=PACKAGES)
    return folder, summary, rows_of(folder / "input")


def rows_of(shards):
    return {path.name: rows_in(path) for path in sorted(shards.iterdir())}


def rows_in(path):
    match path.suffix:
        case ".parquet":
            return pq.read_table(path).to_pylist()
        case ".gz":
            lines = gzip.decompress(path.read_bytes())
        case ".zst":
            lines = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
        case _:
            lines = path.read_bytes()
    return [json.loads(line) for line in lines.decode().splitlines()]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_rows(built):
    return [row for part in built[2].values() for row in part]


def num_bytes(rows):
    return sum(len(row["text"].encode()) for row in rows)


def test_two_builds_give_the_same_bytes(built, tmp_path):
    """The same environment gives the same shards, in another process with another hash seed too."""
    code = (
        f"import pathlib; from pipelines import demo; demo.build(pathlib.Path({str(tmp_path)!r}), max_bytes={MAX_BYTES}, names={PACKAGES})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert contents(tmp_path) == contents(built[0])


def test_every_document_is_in_one_shard(built):
    """Ids are unique over the shards, and the summary counts what is in them."""
    folder, summary, _ = built
    rows = all_rows(built)
    assert len({row["id"] for row in rows}) == len(rows) == summary["documents"]
    assert num_bytes(rows) == summary["text_bytes"] <= MAX_BYTES
    assert dict(Counter(row["source"] for row in rows)) == summary["sources"]
    assert json.loads((folder / demo.SUMMARY).read_text()) == summary


def test_the_text_fills_the_size_that_was_asked_for(built):
    """Where there is more text than asked for, the demo is at most a tenth smaller than the size."""
    assert num_bytes(all_rows(built)) > 0.9 * MAX_BYTES


def test_shards_are_skewed_and_of_every_format(built):
    """The largest shard holds about its share, the smallest a few percent, and each format is there."""
    parts = built[2]
    assert {"".join(Path(name).suffixes) for name in parts} == {".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst"}
    shares = {name: num_bytes(rows) / num_bytes(all_rows(built)) for name, rows in parts.items()}
    assert shares == pytest.approx(demo.SHARDS, abs=0.06)


def test_every_row_has_every_column_as_a_string_or_null(built):
    """Parquet and JSONL shards agree in columns and types."""
    for row in all_rows(built):
        assert list(row) == demo.SCHEMA.names
        assert all(isinstance(row[name], str) for name in ("id", "text", "url", "date", "source"))
        assert all(row[name] is None or isinstance(row[name], str) for name in ("lang", "licence"))


def test_row_groups_are_many_where_rows_are(tmp_path):
    """A large Parquet shard has several row groups, so that it can be split."""
    rows = [demo._row(number, Document("text", "url", None, "python", None)) for number in range(2 * demo.ROWS_PER_GROUP + 1)]
    demo._write_shard(tmp_path / "a.parquet", rows)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3


def test_copies_are_exact_and_elsewhere(built):
    """Each planted copy has the text of another document, under another id and address."""
    rows = all_rows(built)
    copies = [row for row in rows if row["source"] == "mirror"]
    originals = {}
    for row in rows:
        if row["source"] not in {"mirror", "junk"}:
            originals.setdefault(row["text"], row)
    assert len(copies) > 0.02 * len(rows)
    found = [(row, originals[row["text"]]) for row in copies if row["text"] in originals]
    assert len(found) > 0.9 * len(copies)  # the original of one or two may have been the one too many
    assert all(copy["url"] != original["url"] for copy, original in found)


def test_junk_is_of_every_kind(built):
    """Repeated lines, menus, symbols, placeholder text and pages that say nothing are all planted."""
    kinds = Counter(row["url"].split("/")[3] for row in all_rows(built) if row["source"] == "junk")
    assert set(kinds) == {"repeated", "menu", "symbols", "placeholder", "too_short"}


def test_an_earlier_demo_is_replaced(tmp_path):
    """Building again into the same folder leaves nothing of the first demo."""
    demo.build(tmp_path, max_bytes=300_000, names={"click"})
    (tmp_path / "input" / "left-over.parquet").write_bytes(b"old")
    demo.build(tmp_path, max_bytes=300_000, names={"click"})
    assert set(contents(tmp_path)) == {f"input/{name}" for name in demo.SHARDS} | {demo.SUMMARY}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, capsys):
    """An `input` that the command has not made is refused by name, and stays as it was."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "mine.parquet").write_bytes(b"mine")
    assert demo.main(["build", str(tmp_path)]) == 1
    assert contents(tmp_path) == {"input/mine.parquet": b"mine"}
    assert f"{tmp_path / 'input'} exists and was not made by this command" in capsys.readouterr().err


def test_the_command_says_what_it_made(tmp_path, capsys, monkeypatch):
    """One line tells the documents and bytes."""
    monkeypatch.setattr(demo, "collect", lambda _names: collect({"click"}))
    assert demo.main(["build", str(tmp_path), "--max-bytes", "300000"]) == 0
    out = capsys.readouterr().out
    summary = json.loads((tmp_path / demo.SUMMARY).read_text())
    assert out.count("\n") == 1
    assert f"{summary['documents']:,} documents" in out


def test_a_build_that_was_cut_short_is_made_again(tmp_path, monkeypatch):
    """Without its summary, which comes last, a demo is not whole: `make demo` builds it again, over what is there."""

    def out_of_space(path, rows):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(demo, "_write_shard", out_of_space)
        with pytest.raises(OSError, match="no space"):
            demo.build(tmp_path, max_bytes=300_000, names={"click"})
    assert (tmp_path / "input").exists()
    assert not (tmp_path / demo.SUMMARY).exists()
    demo.build(tmp_path, max_bytes=300_000, names={"click"})
    assert set(contents(tmp_path)) == {f"input/{name}" for name in demo.SHARDS} | {demo.SUMMARY}


def test_paragraphs_are_long_distinct_and_normal():
    """60 paragraphs or more in 15 languages or more, each of 400 characters or more, in composed Unicode, none twice."""
    singles = [document for document in paragraphs() if "\n" not in document.text]
    assert len({document.text for document in singles}) == len(singles) >= 60
    assert len({document.lang for document in singles}) >= 15
    assert all(len(document.text) >= 400 for document in singles)
    assert all(unicodedata.is_normalized("NFC", document.text) for document in singles)


def test_paragraphs_are_in_the_language_that_they_say():
    """py3langid's model finds each paragraph's language."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    wrong = [(document.lang, identifier.classify(document.text)) for document in paragraphs()]
    assert [(lang, found) for lang, found in wrong if lang != found[0]] == []


def test_documents_of_many_paragraphs_are_joined_from_those_of_one():
    """Three paragraphs of a language make seven documents: each alone, each pair, all three."""
    assert Counter(document.lang for document in paragraphs())["de"] == 7
    assert len({document.text for document in paragraphs()}) == len(paragraphs())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One line\nand its end.", "One line and its end."),
        ("First.\n\nSecond\nparagraph.", "First.\n\nSecond paragraph."),
        ("- a list\n- stays", "- a list\n- stays"),
        ("1. a numbered\n2. list", "1. a numbered\n2. list"),
        ("Args:\n    path: a file", "Args:\n    path: a file"),
        ("Title\n=====\nBody.", "Title\n\nBody."),
        ("Use ``this`` and `that`, :class:`Path` or **all**.", "Use this and that, Path or all."),
        ("Before.\n\n>>> 1 + 1\n2\n\nAfter.", "Before.\n\nAfter."),
        ("Set `a` to 2*b*c or a * b * c.", "Set a to 2*b*c or a * b * c."),
    ],
)
def test_a_docstring_becomes_a_page(text, expected):
    """Paragraphs are joined, inline markup and console sessions go, lists and signatures stay."""
    assert as_on_a_page(text) == expected


def install(folder, files, *, licence="Licence: none"):
    """A package called `sample` on the path, with the given files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    information = folder / "sample-1.0.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Sample\nVersion: 1.0\n{licence}\n\n{PROSE}")
    (information / "RECORD").write_text("".join(f"{name},,\n" for name in files))


PROSE = "The river rises in the hills and reaches the sea after a long way through fields and towns. " * 5
DOCSTRING = f'"""{PROSE}"""\n'


def urls(documents):
    return [document.url for document in documents]


def test_docstrings_are_found_wherever_they_are(tmp_path, monkeypatch):
    """Modules, classes, methods and functions under a condition each give a document with a package URL."""
    in_class = f"class A:\n    {DOCSTRING}\n    def m(self):\n        {DOCSTRING}"
    in_try = f"try:\n    def f():\n        {DOCSTRING}\nfinally:\n    pass\n"
    body = f"{DOCSTRING}{in_class}{in_try}"
    install(tmp_path, {"sample/a.py": body})
    monkeypatch.syspath_prepend(tmp_path)
    base = "pkg:pypi/sample@1.0"
    assert urls(collect({"sample"})) == [base, *(f"{base}#sample/a.py{name}" for name in ("", ":A", ":A.m", ":f"))]


@pytest.mark.parametrize(
    "files",
    [
        {"sample/a.py": f"{DOCSTRING}def ("},
        {"sample/a.py": DOCSTRING.encode() + b"\xff"},
        {"sample/a.py": DOCSTRING + "\0"},
        {"sample/a.py": f'"""\\ud800 {PROSE}"""'},
        {"sample/a.py": '"""Too short."""'},
        {"sample/a.py": DOCSTRING + "x = 1\n" * 5000},
        {"sample/_vendor/a.py": DOCSTRING},
        {"sample/tests/a.py": DOCSTRING},
        {"../bin/a.py": DOCSTRING},
        {"sample/data.csv": PROSE},
    ],
    ids=["syntax", "not-utf8", "nul", "surrogate", "short", "all-code", "vendored", "tests", "outside", "data"],
)
def test_what_is_no_document_is_left_out(tmp_path, monkeypatch, files):
    """Broken, foreign or wordless files are passed over without an error."""
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", files)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert urls(collect({"sample"})) == ["pkg:pypi/sample@1.0"]  # its long description alone


def test_documentation_and_licence_texts_are_documents(tmp_path, monkeypatch):
    """README and licence files are read as they are; licence texts are the natural duplicates of the demo."""
    install(tmp_path, {"sample/README.md": PROSE, "sample-1.0.dist-info/licenses/LICENSE": PROSE, "sample/guide.rst": PROSE})
    monkeypatch.syspath_prepend(tmp_path)
    assert [document.text for document in collect({"sample"})] == [PROSE.strip()] * 4


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: BSD\nClassifier: License :: OSI Approved :: Apache Software License", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        (f"License: {'a whole licence text ' * 20}", None),
        ("Summary: none stated", None),
    ],
)
def test_the_licence_is_what_the_package_states(tmp_path, monkeypatch, stated, expected):
    """The expression comes before the short field, that before the classifier; a package that states none has none."""
    install(tmp_path, {"sample/a.py": ""}, licence=stated)
    monkeypatch.syspath_prepend(tmp_path)
    assert [document.licence for document in collect({"sample"})] == [expected]


def test_the_standard_library_is_read():
    """Its docstrings are documents under Python's licence, none of them short."""
    documents = list(collect({"python"}))
    assert len(documents) > 100
    assert {document.licence for document in documents} == {"PSF-2.0"}
    assert min(len(document.text) for document in documents) >= MIN_CHARS
