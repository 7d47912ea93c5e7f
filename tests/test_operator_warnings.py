"""What operators tell a user before a run: once on the terminal and in the manifest, never for each worker, and no secrets."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from corpora import documents, files_of, output_of, pipeline, prove, write_parquet
from manifests import make_manifest
from report_page_read import without_scripts

from operators.base import OperatorWarning
from pipelines.card import card
from pipelines.cli import main
from pipelines.operator_warnings import MAX_CHARS, MAX_WARNINGS, heard, told
from pipelines.report import report
from pipelines.verify_manifest import shape_problems

MODULE = '''
"""Operators that warn while they are opened."""

import os
import warnings
from typing import Literal

import pyarrow as pa

from operators.base import BatchOperator, OperatorWarning, Result
from operators.exact_dedup import ExactDedup

TEXT = "rule 'Metaspace' of s3://key:word@bucket/t.json?X-Amz-Signature=abcdef is not known\\nso a slower way is taken"


def say(kind):
    """Warn, and leave a line where tests count how often an operator was opened."""
    with open({opened!r}, "a") as file:
        file.write(f"{kind} {os.getpid()}\\n")
    for _ in range(2):
        warnings.warn(OperatorWarning(TEXT + " " + os.environ.get("PLANTED_TOKEN", "")))


class Slow(BatchOperator):
    """Warns, twice the same."""

    type: Literal["slow"] = "slow"

    def open(self, assets):
        say("slow")
        return Result


class Dedup(ExactDedup):
    """A group operator that warns."""

    type: Literal["dedup"] = "dedup"

    def open(self, assets):
        say("dedup")
        return super().open(assets)
'''
SECRET = "tok_plantedPlanted"
SAID = "rule 'Metaspace' of s3://[redacted]@bucket/t.json?X-Amz-Signature=[redacted] is not known so a slower way is taken [redacted]"
OPERATORS = [{"type": "length_filter", "min_chars": 1}, {"type": "warns:Slow", "name": "slow"}, {"type": "warns:Dedup", "name": "dedup"}]


def made(folder: Path, **sections) -> Path:
    folder.mkdir()
    write_parquet(folder / "in" / "a.parquet", documents(40))
    (folder / "warns.py").write_text(MODULE.replace("{opened!r}", repr(str(folder / "opened.txt"))))
    return pipeline(folder / "made.yaml", f"{folder}/in/", folder / "out", OPERATORS, execution={"unit_bytes": 2000}, **sections)


def command(capsys, *words: str | Path) -> tuple[str, str]:
    assert main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    return out, err


def assert_in_manifest(root: Path) -> None:
    entries = output_of(root).manifest["operators"]
    assert [entry.get("warnings") for entry in entries] == [None, [SAID], [SAID]]
    prove(output_of(root))


@pytest.fixture
def no_fsync(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)


def test_each_warning_is_told_once_and_kept(tmp_path, capsys, no_fsync):
    """`run` and `plan` tell it in a line an operator, `validate` opens nothing; manifest, report and card have it, and verify agrees."""
    file = made(tmp_path / "p")
    lines = [f"warning: operator {name!r}: {SAID}" for name in ("slow", "dedup")]
    assert "Metaspace" not in "".join(command(capsys, "validate", file))
    assert [line for line in command(capsys, "plan", file)[0].splitlines() if "Metaspace" in line] == lines
    assert json.loads(command(capsys, "plan", file, "--json")[0])["warnings"] == {"slow": [SAID], "dedup": [SAID]}
    out, err = command(capsys, "run", file)
    # Progress of a log that is no terminal is folded at its width.
    assert " ".join(err.split()).count("warning: operator") == 2
    assert " ".join(out.split()).count(f"warning: slow: {SAID}") == 1
    assert_in_manifest(tmp_path / "p" / "out")
    assert "Metaspace" in command(capsys, "run", file)[1]
    for name in ("README.md", "versions/v1/report.html", "manifest.json"):
        text = without_scripts((tmp_path / "p" / "out" / name).read_text())
        assert "Metaspace" in text
        assert SECRET not in text
        assert "abcdef" not in text


def test_two_runs_keep_the_same(tmp_path, capsys, no_fsync):
    """Manifests of the same pipeline agree, warnings included."""
    found = []
    for name in ("a", "b"):
        command(capsys, "run", made(tmp_path / name), "--quiet")
        entries = json.loads(files_of(tmp_path / name / "out")["manifest.json"])["operators"]
        found.append([entry.get("warnings") for entry in entries])
    assert found[0] == found[1]
    assert found[0][1] == [SAID]


@pytest.mark.ray
def test_workers_say_nothing(tmp_path, capfd, monkeypatch, ray_cluster):
    """On Ray the driver tells it once; operators warn in other processes too, and nothing of it is seen."""
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)
    file = made(tmp_path / "p", cluster=ray_cluster.settings)
    _, err = command(capfd, "run", file)
    assert " ".join(err.split()).count("is not known") == 2
    opened = (tmp_path / "p" / "opened.txt").read_text().splitlines()
    assert len({line.split()[1] for line in opened}) > 1, "no worker opened the operators"
    assert_in_manifest(tmp_path / "p" / "out")


def test_other_warnings_take_their_usual_way():
    """A warning of another category reaches who listens outside, or raises where filters say so; ours never raises."""
    with pytest.warns(DeprecationWarning, match="old"), heard() as found:  # noqa: PT031
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn(OperatorWarning("mine"), stacklevel=1)
    assert found == ["mine"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with heard() as found:
            warnings.warn(OperatorWarning("mine"), stacklevel=1)
            with pytest.raises(UserWarning, match="other"):
                warnings.warn("other", UserWarning, stacklevel=1)
    assert found == ["mine"]
    with pytest.warns(OperatorWarning):
        warnings.warn(OperatorWarning("mine"), stacklevel=1)


def test_warnings_are_bounded():
    """An operator that warns endlessly, or at length, fills neither terminal nor manifest."""
    found = told([*(f"number {number}" for number in range(1000)), "x" * 10_000])
    assert found == tuple(f"number {number}" for number in range(MAX_WARNINGS))
    assert [len(text) for text in told(["x" * 10_000, " \n"])] == [MAX_CHARS]


def test_what_is_shown_of_a_manifest_is_escaped():
    """A custom operator's warning is shown as text in the report and the card."""
    manifest = make_manifest()
    manifest["operators"][0]["warnings"] = ["<script>*x*</script>"]
    assert "<script>" not in without_scripts(report(manifest))
    assert "&lt;script&gt;*x*" in report(manifest)
    assert r"\<script\>\*x\*" in card(manifest)


@pytest.mark.parametrize(("found", "place"), [("text", "operators[0].warnings: found"), ([1], "operators[0].warnings[0]: found '1'")])
def test_verify_knows_the_shape(found, place):
    """Warnings are a list of strings."""
    manifest = make_manifest()
    manifest["operators"][0]["warnings"] = found
    problems = [problem.message for problem in shape_problems("manifest.json", json.dumps(manifest).encode(), None)]
    assert problems[0].startswith(place)
    assert not [problem for problem in problems[1:] if "operators" in problem]
