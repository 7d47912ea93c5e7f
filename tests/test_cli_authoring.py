"""The commands for writing a pipeline, and how the command line ends: messages, streams and exit statuses."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import jsonschema
import pytest
from config_files import MINIMAL

import operators as catalogue
from pipelines import cli as cli_module
from pipelines.cli import cli, main
from pipelines.config import load
from pipelines.errors import CheckFailed, LeaseHeld
from pipelines.runbook import pointer
from pipelines.starter import recipes

ROOT = Path(cli_module.__file__).resolve().parent.parent

HELD = pointer("another-run-holds-the-output")


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("p.yaml")
    path.write_text(MINIMAL + "operators: [{type: length_filter, min_chars: 5}]\n")
    return path


@pytest.fixture
def failing():
    """A command that raises what it is told to."""
    raised: list[BaseException] = []

    @click.command("fail")
    def fail() -> None:
        raise raised[0]

    cli.add_command(fail)
    yield raised
    del cli.commands["fail"]


def spawn(*arguments: str, **options) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "pipelines.cli", *arguments], cwd=ROOT, **options)


def on_terminal(width: int, *arguments: str) -> list[str]:
    """The lines that a command writes to a terminal of a width."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}} | {"TERM": "xterm"}
    process = spawn(*arguments, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    written = b""
    try:
        while chunk := os.read(parent, 65536):
            written += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(parent)
    assert process.wait() == 0, written
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", written.decode()).split("\n")


# validate


def test_validate_says_what_the_pipeline_is(pipeline, capsys):
    """A valid file is summed up: name, inputs, operators and output."""
    assert main(["validate", str(pipeline)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "p.yaml is valid.",
        "name      p",
        "input     in/*.parquet",
        "operator  length_filter min_chars=5",
        "output    out",
        "cluster   local",
    ]
    assert err == ""


def test_validate_reports_every_problem_on_standard_error(pipeline, capsys):
    """An invalid file gives one line a problem on standard error, nothing on standard output, and exit status 2."""
    assert main(["validate", str(pipeline), "--set", "operators.length_filter.min_char=3", "--set", "output.uri="]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "--set operators.length_filter.min_char: operators[0].length_filter: there is no key 'min_char'; did you mean 'min_chars'?",
        "--set output.uri: found nothing, expected text",
    ]


def test_validate_json(pipeline, capsys):
    """`--json` prints one object: the whole configuration, or the problems."""
    assert main(["validate", str(pipeline), "--json"]) == 0
    valid = json.loads(capsys.readouterr().out)
    assert (valid["valid"], valid["config"]["name"], valid["config"]["execution"]["seed"]) == (True, "p", 0)
    assert main(["validate", str(pipeline), "--json", "--set", "nam=x"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out) == {"file": "p.yaml", "valid": False, "problems": ["--set nam: there is no key 'nam'; did you mean 'name'?"]}
    assert err == "--set nam: there is no key 'nam'; did you mean 'name'?\n"


def test_validate_reads_the_environment(pipeline, capsys, monkeypatch):
    """`${NAME}` comes from the environment of the command."""
    monkeypatch.setenv("SHARDMILL_TEST_BUCKET", "b")
    assert main(["validate", str(pipeline), "--json", "--set", "output.uri=s3://${SHARDMILL_TEST_BUCKET}/x"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["output"]["uri"] == "s3://b/x"


# schema and operators


def test_schema_is_one_json_schema(capsys):
    """`schema` prints a JSON schema that names every operator."""
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    item = schema["properties"]["operators"]["items"]
    assert [choice["then"]["properties"]["type"]["const"] for choice in item["allOf"]] == sorted(catalogue.BY_TYPE)
    assert item["properties"]["type"]["anyOf"][0]["enum"] == sorted(catalogue.BY_TYPE)


CUSTOM = """
from typing import Literal
from pydantic import Field
from operators.base import BatchOperator, Result

class Mine(BatchOperator):
    "Keep all."
    type: Literal["mine"] = "mine"
    limit: int = Field(default=3, ge=0, description="Most of it.")

    def open(self, assets):
        return lambda batch: Result(batch)
"""


def test_schema_knows_the_operators_of_a_pipelines_folder(pipeline, tmp_path, capsys):
    """With FILE the settings of its own operators are checked and described, also while something else in the file is wrong."""
    (tmp_path / "own.py").write_text(CUSTOM)
    pipeline.write_text(MINIMAL + "operators: [{type: 'own:Mine', limit: 2}, {type: lenght_filter}]\n")
    assert main(["schema", str(pipeline), "--output", "made/s.json"]) == 0
    assert "# yaml-language-server: $schema=made/s.json" in capsys.readouterr().out
    validator = jsonschema.Draft202012Validator(json.loads(Path("made/s.json").read_text()))
    base = {"name": "p", "input": {"uri": "a"}, "output": {"uri": "b"}}
    assert validator.is_valid(base | {"operators": [{"type": "own:Mine", "limit": 2}, {"type": "other:Thing", "any": 1}]})
    assert not validator.is_valid(base | {"operators": [{"type": "own:Mine", "limt": 2}]})
    pipeline.write_text(MINIMAL + "operators: [{type: 'nowhere:Mine'}]\n")
    assert main(["schema", str(pipeline)]) == 2
    assert "p.yaml: its operators cannot be read" in capsys.readouterr().err


def test_operators_shows_one_of_ones_own(pipeline, tmp_path, capsys):
    """A class of this folder is shown with its settings as those that are built in."""
    (tmp_path / "own_shown.py").write_text(CUSTOM)
    assert main(["operators", "own_shown:Mine"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("own_shown:Mine: Keep all.")
    assert "Most of it." in out


def test_operators_lists_all(capsys):
    """`operators` lists every operator with its promise, in a pipe one line each, and as JSON with its settings."""
    assert main(["operators"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(catalogue.BY_TYPE)
    assert all(len(line.split()) > 3 for line in lines[1:])
    assert main(["operators", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["operators"]
    assert [entry["type"] for entry in listed] == sorted(catalogue.BY_TYPE)


@pytest.mark.parametrize("kind", sorted(catalogue.BY_TYPE))
def test_every_operator_is_described(kind, capsys):
    """`operators NAME` shows each setting of an operator, with what it means."""
    assert main(["operators", kind, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert {setting["name"].partition(".")[0] for setting in about["settings"]} == catalogue.BY_TYPE[kind].model_fields.keys() - {"type"}
    assert all(setting["doc"] for setting in about["settings"])
    assert main(["operators", kind]) == 0
    text = capsys.readouterr().out
    assert all(setting["name"] in text for setting in about["settings"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenght_filter", "no operator is called 'lenght_filter'; did you mean 'length_filter'?"),
        ("minhash-dedup", "no operator is called 'minhash-dedup'; did you mean 'minhash_dedup'?"),
        ("mine.Thing", "no operator is called 'mine.Thing'; one of your own is written 'mine:Thing'"),
        ("nowhere_here:Thing", "nowhere_here:Thing: there is no module 'nowhere_here' in "),
    ],
)
def test_operators_that_are_not_there(name, message, capsys):
    """A name that is wrong is said to be that, with the nearest one and exit status 2."""
    assert main(["operators", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)


def test_operators_prints_what_near_duplicate_presets_find(capsys):
    """A line a preset with its bands, rows and midpoint, and how likely two documents meet at each similarity."""
    assert main(["operators", "minhash_dedup"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["preset", "bands"])
    table = {line.split()[0]: line.split()[1:] for line in lines[head + 1 : head + 1 + len(catalogue.BY_TYPE["minhash_dedup"].CURVES)]}
    assert table["fineweb"][:6] == ["14", "8", "112", "0.72", "0.053", "0.211"]
    assert main(["operators", "minhash_dedup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["curves"]["t90"]["hashes"] == 108


def test_tables_fold_to_the_terminal():
    """No line is wider than the terminal, and the names of settings stay whole on a narrow one."""
    for width in (48, 100):
        lines = on_terminal(width, "operators", "length_filter")
        assert max(map(len, lines)) <= width, lines
        assert any(line.startswith("min_chars ") for line in lines)


# init


def test_init_writes_a_pipeline_that_is_valid(tmp_path, capsys):
    """The starter is valid as it is, and has its name."""
    assert main(["init", "mine", "--path", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "mine.yaml"
    assert f"Wrote {path}" in capsys.readouterr().out
    config = load(path, (), {})
    assert (config.name, config.output.uri) == ("mine", "out/mine")
    assert main(["validate", str(path)]) == 0


def test_init_comments_can_be_switched_on(tmp_path):
    """Every commented line of the starter is a setting that works when its mark is removed."""
    main(["init", "mine", "--path", str(tmp_path)])
    path = tmp_path / "mine.yaml"
    head, _, body = path.read_text().partition("\nname:")
    body = body.replace("# format: jsonl  ", "format: jsonl  ").replace("  # - type: tokenize", "  - type: tokenize")
    for key in (
        "id_column",
        "path_columns",
        "storage_options",
        "  tokenizer",
        "target_shard_bytes",
        "columns",
        "licence",
        "execution",
        "cluster",
    ):
        assert f"# {key}:" in body or f"#   {key.strip()}:" in body
        body = body.replace(f"#   {key.strip()}:", f"  {key.strip()}:").replace(f"# {key}:", f"{key}:")
    path.write_text(f"{head}\nname:{body}")
    config = load(path, (), {})
    assert config.operators[-1].type == "tokenize"
    assert config.input.format == "jsonl"


def test_init_never_overwrites(tmp_path, capsys):
    """A file that is there stays as it is."""
    (tmp_path / "mine.yaml").write_text("precious")
    assert main(["init", "mine.yaml", "--path", str(tmp_path)]) == 2
    assert (tmp_path / "mine.yaml").read_text() == "precious"
    assert "exists already" in capsys.readouterr().err


def test_init_writes_the_schema_that_its_first_line_names(tmp_path, capsys):
    """An editor finds the schema, without a network, by a path that counts from the file; one of an older build is replaced."""
    (tmp_path / ".shardmill").mkdir()
    (tmp_path / ".shardmill" / "pipeline.schema.json").write_text("old")
    main(["init", "mine", "--path", str(tmp_path)])
    first = (tmp_path / "mine.yaml").read_text().partition("\n")[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    capsys.readouterr()
    main(["schema"])
    assert (tmp_path / named).read_text() == capsys.readouterr().out


@pytest.mark.parametrize("recipe", sorted(recipes()))
def test_init_from_a_recipe(recipe, tmp_path, capsys, monkeypatch):
    """The recipe's operators and comments under the new name and places, which are to be filled in where none were given."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--from", recipe]) == 0
    assert "Set input.uri and output.uri in it" in capsys.readouterr().out
    original, made = load(recipes()[recipe], (), {}), load(Path("mine.yaml"), (), {})
    assert (made.name, made.output.uri, made.operators) == ("mine", "out/mine", original.operators)
    comments = [line for line in recipes()[recipe].read_text().splitlines() if line.lstrip().startswith("# ") and "configs/" not in line]
    assert len([line for line in comments if line in Path("mine.yaml").read_text()]) > 0.8 * len(comments) - 2
    assert "demo/output" not in Path("mine.yaml").read_text()


@pytest.mark.parametrize("source", ["in/*.parquet", "in: #/*.x", "'quoted'", "[a]", "-", "no", "123", "${IN:-x}", " a "])
def test_init_takes_places(source, tmp_path, capsys):
    """`--input` and `--output` stand in the file as they were given, in quotes where YAML would read them otherwise."""
    assert main(["init", "mine", "--from", "c4", "--input", source, "--output", "s3://b/o", "--path", str(tmp_path)]) == 0
    assert "Check it: shardmill validate" in capsys.readouterr().out
    config = load(tmp_path / "mine.yaml", (), {})
    assert (config.input.uri, config.output.uri) == ((source.replace("${IN:-x}", "x"),), "s3://b/o")


def test_init_from_a_file(tmp_path, capsys):
    """Any pipeline file can be begun with, lists of places included; what is none is refused, and nothing is written."""
    (tmp_path / "old.yaml").write_text(
        "name: old\ninput:\n  uri:  # all\n    - a  # first\n    - b\n  # then\n  text_column: t\noutput: {uri: o}\n"
    )
    old = str(tmp_path / "old.yaml")
    assert main(["init", "new", "--from", old, "--input", "c", "--path", str(tmp_path)]) == 0
    config = load(tmp_path / "new.yaml", (), {})
    assert (config.input.uri, config.input.text_column, config.output.uri) == (("c",), "t", "out/new")
    for text, problem in (("a: [", "it is no YAML"), ("name: x\n", "no input.uri and no output.uri"), (None, "cannot be read")):
        (tmp_path / "old.yaml").write_text(text) if text else (tmp_path / "old.yaml").unlink()
        assert main(["init", "other", "--from", old, "--path", str(tmp_path)]) == 2
        assert problem in capsys.readouterr().err
        assert not (tmp_path / "other.yaml").exists()


def test_init_from_an_unknown_recipe(tmp_path, capsys):
    """A wrong name is told with the nearest, and with all that there are."""
    assert main(["init", "mine", "--from", "finweb", "--path", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "did you mean 'fineweb'?" in err
    assert all(name in err for name in recipes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "x" * 65])
def test_init_refuses_names_that_no_pipeline_can_have(tmp_path, name, capsys):
    """A name with a slash or so is refused, and nothing is written."""
    assert main(["init", name, "--path", str(tmp_path / "new")]) == 2
    assert "cannot name a pipeline" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# How the command ends


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (LeaseHeld("out: held by host:1; wait for it"), 1, f"shardmill: out: held by host:1; wait for it; {HELD}\n"),
        (CheckFailed("out: a shard is missing"), 4, f"shardmill: out: a shard is missing; {pointer('verify-fails')}\n"),
        (KeyboardInterrupt(), 130, "\nshardmill: interrupted\n"),
        (
            ZeroDivisionError("x\ny"),
            1,
            "shardmill: ZeroDivisionError: x y; this is a bug in shardmill: run again with --debug and report the traceback\n",
        ),
    ],
)
def test_errors_are_one_message(failing, capsys, error, status, message):
    """Any error ends as one message on standard error, no traceback, and its exit status."""
    failing.append(error)
    assert main(["fail"]) == status
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback(failing, capsys, arguments):
    """`--debug`, before or after the command's name, adds the traceback."""
    failing.append(LeaseHeld("held"))
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith(f"shardmill: held; {HELD}\n")


@pytest.mark.parametrize("arguments", [["validat"], ["validate"], ["validate", "x", "y"], ["operators", "--jsn"]])
def test_usage_errors(arguments, capsys):
    """A command line that is no command is exit status 2, with the usage."""
    assert main(arguments) == 2
    assert "Usage: shardmill" in capsys.readouterr().err


def test_version(capsys):
    """`--version` prints one line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("shardmill ")


def test_a_reader_that_leaves_is_no_error():
    """Writing into a pipe whose reader is gone ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    process = spawn("schema", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate()
    assert err == b""
    assert process.returncode == 1


def test_help_imports_nothing_heavy():
    """`--help` answers at once: none of the heavy libraries is imported for it."""
    code = (
        "import sys; from pipelines.cli import main; main(['--help']);"
        "heavy = {'pyarrow', 'numpy', 'numba', 'pydantic', 'ray', 'fsspec', 'rich', 'yaml', 'datasets'} & set(sys.modules);"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "validate" in done.stdout


def test_the_help_of_prices_names_what_there_is():
    """`dry-run --help` tells each price as the one that is reckoned with, though it is told without loading that."""
    from pipelines.cli_costs import PRICES
    from pipelines.projection_prices import Prices

    fields = Prices.model_fields.values()
    assert {field.alias: f"{(field.description or '').lower().rstrip('.')}" for field in fields} == {
        name: meaning.lower() for name, meaning in PRICES.items()
    }
