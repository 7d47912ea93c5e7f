"""The JSON schema that editors check by says what `config.load()` says, as far as a schema can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipelines.cli import main
from pipelines.config import load
from pipelines.config_schema import json_schema
from pipelines.errors import ConfigError

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
TAKEN = [
    ("name", 2026),
    ("input.uri", 7),
    ("input.uri", ["a", 7]),
    ("output.licence", 4),
    ("operators", [{"type": "classifier", "model": "m.bin", "label": 1}]),
    ("operators", [{"type": "gopher_quality", "name": 1, "max_symbol_word_ratio": 0, "min_doc_words": None}]),
    ("operators", [{"type": "gopher_quality", "min_doc_words": "${WORDS:-50}"}]),
    ("submit", {"kuberay": {"image": "i", "env": {"OMP_NUM_THREADS": 4}}}),
    ("execution", {"unit_bytes": "2MiB", "batch_bytes": 1048576}),
]
REFUSED = [
    ("operators", [{"type": "gopher_quality", "min_doc_words": -1}]),
    ("operators", [{"type": "gopher_quality", "min_doc_words": True}]),
    ("operators", [{"type": "gopher_repetition", "dup_line_frac": 30}]),
    ("operators", [{"type": "length_filter", "name": ""}]),
    ("operators", [{"type": "length_filter", "min_char": 1}]),
    ("operators", [{"type": "length_filter", "min_chars": "many"}]),
    ("execution", {"unit_bytes": 1}),
    ("execution", {"batch_bytes": 1}),
    ("output.target_shard_bytes", 1),
    ("output.target_shard_bytes", 1.5),
    ("publish", {"repo_id": "no-owner"}),
    ("submit", {"slurm": {"temp_folder": "tmp"}}),
    ("submit", {"slurm": {"object_store_memory": 1}}),
]


def pipeline(key: str, value: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": "p", "input": {"uri": "a"}, "output": {"uri": "b"}}
    section, _, rest = key.partition(".")
    if rest:
        made[section][rest] = value
    else:
        made[section] = value
    return made


@pytest.mark.parametrize(("key", "value"), TAKEN)
def test_what_is_taken_is_not_underlined(key, value, tmp_path):
    """Numbers where text is asked for, references to the environment and sizes in either form are right for both."""
    (tmp_path / "p.yaml").write_text(json.dumps(pipeline(key, value)))
    load(tmp_path / "p.yaml", (), {})
    assert [error.message for error in VALIDATOR.iter_errors(pipeline(key, value))] == []


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_what_is_refused_is_underlined(key, value, tmp_path):
    """Values out of range and keys that are not there are wrong for both."""
    (tmp_path / "p.yaml").write_text(json.dumps(pipeline(key, value)))
    with pytest.raises(ConfigError):
        load(tmp_path / "p.yaml", (), {})
    assert not VALIDATOR.is_valid(pipeline(key, value))


CUSTOM = "class Mine(BatchOperator):\n    type: Literal['mine'] = 'mine'\n    def open(self, assets):\n        return Result\n"


def test_a_schema_of_another_build_is_told(tmp_path, capsys, monkeypatch):
    """`validate` says so when an editor would check by what an older build wrote, or by nothing, and the command that it gives mends it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert main(["init", "mine", "--path", "sub"]) == 0
    schema = Path("sub/.shardmill/pipeline.schema.json")
    for spoil, state in ((lambda: schema.write_text("{}"), "is of another build"), (schema.unlink, "is not there")):
        spoil()
        capsys.readouterr()
        assert main(["validate", "sub/mine.yaml"]) == 0
        note = capsys.readouterr().err
        assert state in note
        assert main(note.strip().partition("shardmill ")[2].split()) == 0
        assert "$schema=.shardmill/pipeline.schema.json" in capsys.readouterr().out
        assert main(["validate", "sub/mine.yaml"]) == 0
        assert capsys.readouterr().err == ""


def test_a_schema_with_a_folders_own_operators_is_no_other_build(tmp_path, capsys, monkeypatch):
    """What `schema FILE` wrote is right for `validate`, and so is a file that names a schema on the network, or none."""
    monkeypatch.chdir(tmp_path)
    Path("own_one.py").write_text("from typing import Literal\nfrom operators.base import BatchOperator, Result\n" + CUSTOM)
    text = "name: p\ninput: {uri: a}\noperators: [{type: 'own_one:Mine'}]\noutput: {uri: b}\n"
    for first in ("# yaml-language-server: $schema=s.json\n", "# yaml-language-server: $schema=https://example.org/s.json\n", ""):
        Path("p.yaml").write_text(first + text)
        assert main(["schema", "p.yaml", "--output", "s.json"]) == 0
        capsys.readouterr()
        assert main(["validate", "p.yaml"]) == 0
        assert capsys.readouterr().err == ""


def test_schema_of_a_file_that_is_not_there(capsys):
    """A wrong path is told as every command tells it."""
    assert main(["schema", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "nowhere.yaml: there is no such file; give the path of a pipeline file\n"
