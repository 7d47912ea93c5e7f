"""The files that a new user meets first agree with each other: configs, constraints, Makefile, README."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipelines import demo, reference, reference_keys
from pipelines.config import load
from pipelines.plan import learning

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [text for texts in project["project"]["optional-dependencies"].values() for text in texts]
    texts = project["project"]["dependencies"] + project["dependency-groups"]["dev"] + extras
    return [Requirement(text) for text in dict.fromkeys(texts)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_pipeline_in_configs_is_valid(path, monkeypatch):
    """Each file loads from the checkout's folder, under the name of its file, and its folder's README lists it."""
    monkeypatch.chdir(ROOT)
    assert load(path).name == path.stem
    assert f"({path.name})" in (path.parent / "README.md").read_text()


def test_the_quickstart_reads_what_the_demo_builds():
    """The pipeline's input pattern is that of `make demo`, and it needs no file besides: its tokenizer is trained on the way."""
    config = load(ROOT / "configs" / "quickstart.yaml")
    written = [f"demo/input/{name}" for name in demo.SHARDS]
    assert all(Path(path).match(pattern) for path in written for pattern in config.input.uri)
    assert [uri for operator in config.operators for uri in operator.asset_uris_beside(learning(config.operators))] == []
    assert [operator.type for operator in config.operators[-2:]] == ["train_tokenizer", "tokenize"]
    assert f"demo: demo/{demo.SUMMARY} " in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_every_dependency_has_one_exact_version(requirement):
    """What pyproject.toml asks for is pinned in constraints.txt, to a version that it allows."""
    pinned = [pin for pin in constraints() if canonical(pin.name) == canonical(requirement.name)]
    assert len(pinned) == 1
    (specifier,) = pinned[0].specifier
    assert specifier.operator == "=="
    assert specifier.version in requirement.specifier


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["README.md", "AGENTS.md", ".ci/run"])
def test_every_make_command_that_is_named_exists(name):
    """A file never names a target that the Makefile has not."""
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE))
    assert named
    assert named <= targets()


def test_every_command_in_the_readme_exists():
    """README names only commands that this build has."""
    from pipelines.cli import cli

    named = set(re.findall(r"shardmill ([a-z][a-z-]*)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(cli.commands)


def test_the_pipeline_in_the_readme_is_the_quickstart(tmp_path, monkeypatch):
    """The pipeline that README explains is the one that the demo runs, but for comments."""
    monkeypatch.chdir(ROOT)
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "shown.yaml").write_text(shown)
    assert load(tmp_path / "shown.yaml").redacted() == load(ROOT / "configs" / "quickstart.yaml").redacted()


def test_the_reference_of_operators_is_what_they_say():
    """docs/operators.md is made from the operators; `make docs` makes it again when one changes."""
    assert (ROOT / "docs" / "operators.md").read_text() == reference.page()


def test_the_reference_is_what_the_code_says():
    """docs/reference.md is made from settings, operators and commands; `make docs` makes it again when one changes."""
    assert (ROOT / "docs" / "reference.md").read_text() == reference_keys.page()


def test_every_file_that_the_map_names_exists():
    """AGENTS.md sends nobody to a module that is gone."""
    named = re.findall(r"(?:operators|cluster|pipelines)/[a-z_0-9]+\.(?:py|jsonl)", (ROOT / "AGENTS.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_three_packages_are_this_project():
    """`operators`, `cluster` and `pipelines` are common words: they must be the folders of this checkout, whatever is installed."""
    code = "import operators, cluster, pipelines; print(*(m.__path__[0] for m in (operators, cluster, pipelines)), sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout
    assert [Path(line).resolve() for line in out.split()] == [ROOT / name for name in ("operators", "cluster", "pipelines")]


READY_AT_ONCE = """
import sys
import operators
assert "numba" not in sys.modules, "import operators"
from pipelines.cli import main
for command in (["validate", "configs/fineweb.yaml"], ["operators"], ["operators", "gopher_repetition"], ["schema"]):
    assert main(command) == 0, command
    assert not {"numba", "ray", "datatrove", "tokenizers", "trafilatura"} & set(sys.modules), command
"""


def test_commands_that_only_look_at_settings_load_no_compiler():
    """Operators import what is heavy when they are opened: what only reads settings answers at once."""
    done = subprocess.run([sys.executable, "-c", READY_AT_ONCE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
