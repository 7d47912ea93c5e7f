"""Whatever a pipeline file holds, loading it gives a configuration or a configuration error."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import re
from pathlib import Path

import yaml
from config_files import FULL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.base import Operator
from pipelines.config import load
from pipelines.errors import ConfigError


def _assert_only_config_errors(path: Path, text: str, overrides: tuple[str, ...] = ()) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    problems, config = [], None
    try:
        config = load(path, overrides, {})
    except ConfigError as error:
        problems = error.problems
    if config is not None:
        json.dumps(config.redacted())
        assert all(isinstance(step, Operator) and step.name for step in config.operators)
        return
    num_lines = len(re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text))
    assert problems
    for problem in problems:
        match = re.match(rf"{re.escape(str(path))}:(\d+): .|--set .*: .", problem)
        assert match, problem
        assert match[1] is None or 1 <= int(match[1]) <= num_lines, problem


SIGNS = "\t : [ ] { } ' \" | > # % @ ` &a  *a !!int  !x  <<:  ${ ${A} null true -1 1e400 0x .nan \x07 é mine:Thing".split(" ")  # noqa: SIM905
BREAKS = ["\n", "\n  ", "- ", "? ", "---\n", "\ud800", "\x85", "\u2028", "\ufeff", "9" * 50]
FRAGMENTS = st.sampled_from(SIGNS + BREAKS) | st.text(max_size=5)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FULL)), st.integers(0, 12), FRAGMENTS), min_size=1, max_size=4))
def test_mutated_text_gives_only_configuration_errors(tmp_path, edits):
    """A valid file with characters changed anywhere loads, or is a configuration error whose lines are lines of the file."""
    text = FULL
    for start, num_removed, inserted in edits:
        text = text[:start] + inserted + text[start + num_removed :]
    _assert_only_config_errors(tmp_path / "p.yaml", text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["length_filter", "mine:X", "512MiB"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.sampled_from(["type", "uri", "name"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [
        ("name",),
        ("input",),
        ("operators",),
        ("operators", 0),
        ("operators", 0, "type"),
        ("operators", 1, "within"),
        ("output",),
    ]
    + [("execution",), ("cluster",), ("cluster", "type"), ("history",)]
    + [("input", key) for key in ("uri", "format", "text_column", "path_columns", "storage_options")]
    + [("output", key) for key in ("uri", "target_shard_bytes", "columns", "partition_by", "dropped")]
    + [("execution", key) for key in ("unit_bytes", "batch_bytes", "seed", "max_quarantined_fraction")]
)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=3),
    st.lists(st.text(max_size=12) | st.just("operators[0].min_chars=x"), max_size=2),
)
def test_mutated_values_give_only_configuration_errors(tmp_path, edits, overrides):
    """A valid file with any values put in any places, and any overrides, loads or is a configuration error."""
    document = yaml.safe_load(FULL)
    for path, value in edits:
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an edit before it took the place away
            functools.reduce(operator.getitem, path[:-1], document)[path[-1]] = value
    _assert_only_config_errors(tmp_path / "p.yaml", yaml.safe_dump(document, allow_unicode=True, sort_keys=False), tuple(overrides))
