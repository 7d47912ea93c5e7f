"""Every command in the documentation exists, and is run where a machine alone can run it."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from docs_commands import NoSuchCommandError, check, run
from docs_pages import PAGES, ROOT, SHELLS, Block, blocks, spans, split, stray
from publications import published

from pipelines import demo
from pipelines.cli import main
from pipelines.demo_planted import paragraphs

BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = {page: [block for block in blocks(page) if block.language in SHELLS and "not run" not in block.marks] for page in PAGES}
NOTHING_NEW = 3
PIPELINE = """\
name: quickstart
input: {uri: input/*.parquet}
operators:
  - type: language_filter
  - {type: gopher_quality, keep_signals: true}
  - type: gopher_repetition
  - type: length_filter
  - type: minhash_dedup
output: {uri: out}
cluster: {type: inline}
"""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# Every command is one


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists(page):
    """Programs, commands, options and files that a page names are there, in its blocks and within its sentences."""
    for block in blocks(page):
        for words in block.commands:
            try:
                check(words)
            except NoSuchCommandError as error:
                pytest.fail(f"{block}: {error}")
    for line, code in spans(page):
        for words in split(code):
            try:
                check(words, whole=False)
            except NoSuchCommandError as error:
                pytest.fail(f"{name_of(page)}:{line}: `{code}`: {error}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_blocks_of_commands(page):
    """No command hides in a block that no test reads as commands, and a mark that nobody understands is none."""
    assert stray(page) == []
    told = re.findall(r"^<!-- (.*) -->$", page.read_text(), re.MULTILINE)
    assert [mark for mark in told if not re.match(r"(not run|file|add to): .|exits with \d+$", mark)] == []


def test_what_is_not_run_has_a_reason():
    """A block that is only parsed says what it needs."""
    marked = [block for block in BLOCKS if "not run" in block.marks]
    assert marked
    assert all(len(block.marks["not run"].split()) > 2 for block in marked)


@pytest.mark.parametrize(
    "command",
    [
        "shardmill publsh out --repo a/b",
        "shardmill publish out --repos a/b",
        "shardmill publish out --repo a/b extra",
        "shardmill diff",
        "shardmill submit f.yaml --to kubray",
        "shardmill submit configs/clusters/kubray.yaml --to kuberay",
        "python -m pipelines.dmo build x",
        "python -m pipelines.demo build x --max-byte 3",
        "python benchmarks/bench_nothing.py",
        "python benchmarks/bench_driver.py --unit 3",
        "make demos",
        "shardmil run x",
        "OUT=x shardmill rum x",
    ],
)
def test_a_misspelt_command_is_found(command):
    """A program, command, option, word or file that is not there fails."""
    with pytest.raises(NoSuchCommandError):
        check(next(split(command)))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_in_the_documentation_parses(block):
    """What a page shows as Python is Python."""
    ast.parse(block.text)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """A link to a file of the checkout names one that is there, and a heading that it has."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target}"
        assert not heading or heading in headings(file), f"{name_of(page)}: {target}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


def test_the_index_lists_every_page():
    """docs/README.md leads to each page of the folder."""
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


# Pages are followed from top to bottom


@pytest.fixture
def sandbox(tmp_path, monkeypatch, quick_hub):
    """An empty folder with the checkout's configs, and a Hub, for a page to be followed in."""
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return quick_hub


def test_the_tutorial_ends_with_a_published_dataset(sandbox, monkeypatch):
    """Who follows docs/tutorial.md from an empty folder has a dataset on the Hub that verifies."""
    follow(ROOT / "docs" / "tutorial.md", monkeypatch)
    assert all(Path(page).stat().st_size for page in ("first-dry-run.html", "report.html"))
    assert Path("first.yaml").read_text().startswith("# yaml-language-server: ")
    assert {"data/v2", "manifest.json"} <= {path.rpartition("/")[0] or path for path in sandbox.repo("org/first").tree()}


def test_an_operator_of_ones_own(sandbox, monkeypatch):
    """The operator of docs/writing-an-operator.md keeps the contract by its own test, and runs in a pipeline."""
    demo.build(Path("sample"), max_bytes=100_000, names={"click"})
    follow(ROOT / "docs" / "writing-an-operator.md", monkeypatch)
    assert '"shouting:NotShouting"' in Path(".shardmill/pipeline.schema.json").read_text()


def test_pages_about_outputs(sandbox, monkeypatch):
    """What the pages on differences, publishing, taking out and ingestion tell to do works, on one output after the other."""
    write_input(1)
    Path("pipeline.yaml").write_text(PIPELINE)
    for override in ([], ["--set", "operators.length_filter.min_chars=600"]):
        assert main(["run", "pipeline.yaml", "--quiet", *override]) == 0
        published("out", repo_id="org/quickstart")
    assert main(["run", "pipeline.yaml", "--quiet", "--set", "output.uri=other"]) == 0
    kept = pq.read_table(next(Path("out/data/v2").glob("*.parquet"))).column("id").to_pylist()
    Path("ids.txt").write_text("\n".join(kept[:2]))
    pages = ("dry-run", "dry-run-projection", "diff", "publish", "inspect", "takedown", "ingestion")
    pages = tuple(page for page in pages if (ROOT / "docs" / f"{page}.md").exists())
    for page in pages:
        if page == "ingestion":
            shutil.rmtree("out")
            assert main(["run", "pipeline.yaml", "--quiet"]) == 0
            write_input(2)
        follow(ROOT / "docs" / f"{page}.md", monkeypatch)
    followed = {ROOT / "docs" / f"{page}.md" for page in (*pages, "tutorial", "writing-an-operator", "clusters")}
    assert {page for page, found in RUN.items() if found} == followed, "a page with commands that no test follows"


def test_what_clusters_would_be_given(sandbox, monkeypatch, capfd):
    """Manifests and batch scripts of docs/clusters.md are printed without a cluster."""
    for name, value in re.findall(r"\$\{([A-Z_]+)()\}", (ROOT / "configs" / "clusters" / "slurm.yaml").read_text()):
        monkeypatch.setenv(name, value or "x")
    follow(ROOT / "docs" / "clusters.md", monkeypatch)
    out = capfd.readouterr().out
    assert "kind: RayJob" in out
    assert "#SBATCH" in out


def write_input(number: int) -> None:
    """A file of documents: prose, a copy, repeated lines, and what is no text."""
    Path("input").mkdir(exist_ok=True)
    prose = [str(document.text) for document in paragraphs() if document.lang == "en"]
    lines = prose[0] + "\n" + "\n".join(["This is a line that the page has again and again, at the end of each of its parts."] * 20)
    rows = [{"id": f"d{number}-{row}", "text": text} for row, text in enumerate([*prose, prose[3], lines, "Short.", "# " * 30])]
    pq.write_table(pa.Table.from_pylist(rows), f"input/{number}.parquet")


def follow(page: Path, patch: pytest.MonkeyPatch) -> None:
    """Do what a page tells, in the order of its blocks: write its files, run its commands and its Python."""
    for block in blocks(page):
        if "not run" in block.marks:
            continue
        if "file" in block.marks:
            Path(block.marks["file"]).write_text(block.text)
        elif "add to" in block.marks:
            with Path(block.marks["add to"]).open("a") as file:
                file.write("\n" + block.text)
        elif block.language == "python" and page.stem == "tutorial":
            exec(compile(block.text, str(block), "exec"), {})
        _run_commands(block, patch)


def _run_commands(block: Block, patch: pytest.MonkeyPatch) -> None:
    expected = int(block.marks.get("exits with", 0))
    for words in block.commands:
        status = run(words, patch)
        ended = status == NOTHING_NEW and words[:2] == ["shardmill", "ingest"] if not expected and status else status == expected
        assert ended, f"{block}: {' '.join(words)}: exit status {status}"
