"""The section `publish`: ids as the Hub takes them, problems with their lines, and a finished output that stays finished."""

from __future__ import annotations

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from config_files import MINIMAL
from huggingface_hub.utils import HFValidationError, validate_repo_id
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.config import json_schema, load
from pipelines.errors import ConfigError
from pipelines.repo_ids import repo_id_problem
from pipelines.run import run
from pipelines.survey import survey

PARTS = st.text(st.sampled_from("aZ09_-./ é\n"), max_size=8) | st.sampled_from(["a" * 96, "a" * 97, "git", "x.git", ".git"])


def loaded(tmp_path, text, *overrides):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return load(path, overrides)


def problems(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text, *overrides)
    return str(error.value).replace(f"{tmp_path}/", "").split("\n")


# --- ids


@given(st.builds("{}/{}".format, PARTS, PARTS))
@example("a-/b")
@example("a/b.git")
@example("a.git/b")
def test_an_id_is_one_where_the_hubs_client_takes_it(text):
    """What is refused is refused by huggingface_hub too, and what passes is not."""
    try:
        validate_repo_id(text)
        taken = text.count("/") == 1
    except HFValidationError:
        taken = False
    assert (repo_id_problem(text) is None) == taken


@given(st.text(max_size=200))
def test_any_text_gets_an_answer_that_is_bounded(text):
    """No text makes the check fail, and what it says about a long one is short."""
    assert len(repo_id_problem(text) or "") < 300


@pytest.mark.parametrize(
    ("repo_id", "message"),
    [
        ("quickstart", "found 'quickstart', expected OWNER/NAME; put your user name or your organization before it: 'OWNER/quickstart'"),
        ("datasets/org/name", "found 'datasets/org/name', expected only OWNER/NAME; write 'org/name'"),
        ("hf://datasets/org/name@v1/data", "found 'hf://datasets/org/name@v1/data', expected only OWNER/NAME; write 'org/name'"),
        (
            "https://huggingface.co/datasets/org/name/tree/main",
            "found 'https://huggingface.co/datasets/org/name/tree/main', expected only OWNER/NAME; write 'org/name'",
        ),
        ("org/", "found 'org/', expected OWNER/NAME: an owner and a name with one '/' between them"),
        ("org/my data", "'org/my data' cannot name a repo: its name may hold only letters of ASCII, digits, '-', '_' and '.'; take out "),
        ("org/a--b", "'org/a--b' cannot name a repo: its name may not hold '--'; write one '-'"),
        ("-org/a", "'-org/a' cannot name a repo: its owner may not begin or end with '-' or '.'; take them away there"),
        ("org/a.git", "'org/a.git' cannot name a repo: its name may not end with '.git'; write 'a'"),
        (f"org/{'a' * 97}", f"'org/{'a' * 50}"),
    ],
)
def test_wrong_ids_are_told_by_line_with_a_remedy(tmp_path, repo_id, message):
    """The line of the key, what was found, and what to write."""
    (problem,) = problems(tmp_path, MINIMAL + f"publish:\n  private: true\n  repo_id: {repo_id}\n")
    assert problem.startswith(f"p.yaml:6: publish.repo_id: {message}")


# --- the section


def test_defaults_are_private_and_without_data(tmp_path):
    """Only the repo must be named; what could make something public or large is off."""
    publish = loaded(tmp_path, MINIMAL + "publish: {repo_id: org/p}\n").publish
    assert publish.model_dump() == {
        "repo_id": "org/p",
        "private": True,
        "include_data": False,
        "create_pr": False,
        "preview_documents": 1000,
    }
    assert loaded(tmp_path, MINIMAL).publish is None
    assert loaded(tmp_path, MINIMAL + "publish:\n").publish is None


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("publish: org/p", "p.yaml:4: publish: found 'org/p', expected a mapping of keys to values"),
        ("publish: {}", "p.yaml:4: publish: the key 'repo_id' is missing"),
        ("publish: {repo_ids: org/p}", "p.yaml:4: publish: there is no key 'repo_ids'; did you mean 'repo_id'?"),
        ("publish: {repo_id: org/p, private: maybe}", "p.yaml:4: publish.private: found 'maybe', expected true or false"),
        ("publish: {repo_id: org/p, preview_documents: -1}", "p.yaml:4: publish.preview_documents: found -1, expected at least 0"),
        (
            "publish: {repo_id: org/p, preview_documents: 100001}",
            "p.yaml:4: publish.preview_documents: found 100001, expected at most 100000",
        ),
        ("publish: {repo_id: org/p, token: hf_abc}", "p.yaml:4: publish: there is no key 'token'"),
    ],
)
def test_wrong_sections_are_told_by_line(tmp_path, section, expected):
    """Each problem once, on its line, with the nearest known word."""
    (problem,) = problems(tmp_path, MINIMAL + section + "\n")
    assert problem.startswith(expected)
    assert "hf_abc" not in problem


def test_documents_in_the_memory_of_a_process_are_not_pointed_to(tmp_path):
    """Without the data, the published version would name a place that nobody can read."""
    text = "name: p\ninput: {uri: in/*.parquet}\noutput: {uri: 'memory://p'}\ncluster: {type: inline}\n"
    (problem,) = problems(tmp_path, text + "publish:\n  repo_id: org/p\n  include_data: false\n")
    assert problem == (
        "p.yaml:7: publish.include_data: the documents would stay in memory://p, the memory of a process that ends; "
        "write `include_data: true`"
    )
    assert problems(tmp_path, text + "publish: {repo_id: org/p}\n")[0].startswith(
        "p.yaml:5: publish: the documents would stay in memory://p"
    )
    assert loaded(tmp_path, text + "publish: {repo_id: org/p, include_data: yes}\n").publish.include_data


def test_overrides_and_stored_settings(tmp_path):
    """`--set` can add the section, and what is stored is a pipeline file again."""
    config = loaded(tmp_path, MINIMAL, "publish.repo_id=org/p", "publish.create_pr=true")
    assert config.publish.create_pr
    assert loaded(tmp_path, yaml.safe_dump(config.redacted())).publish == config.publish


@pytest.mark.parametrize(
    ("section", "is_valid"),
    [
        ({"repo_id": "org/p"}, True),
        (None, True),
        ({"repo_id": "org/p", "preview_documents": 0, "private": False, "include_data": True, "create_pr": True}, True),
        ({"repo_id": "org/p", "private": "${PRIVATE}"}, True),
        ({}, False),
        ({"repo_id": "org/p", "preview_documents": -1}, False),
        ({"repo_id": "org/p", "privat": True}, False),
    ],
)
def test_the_schema_for_editors_knows_the_section(section, is_valid):
    """An editor completes and underlines what `validate` accepts and refuses."""
    assert jsonschema.Draft202012Validator(json_schema()).is_valid({**yaml.safe_load(MINIMAL), "publish": section}) == is_valid


def test_publishing_decides_nothing_about_the_output(tmp_path, monkeypatch):
    """A finished output stays finished, and its plan the same, whatever `publish` says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), tmp_path / "in" / "a.parquet")
    inline = MINIMAL + "cluster: {type: inline}\n"
    made = run(loaded(tmp_path, inline)).manifest
    for section in ("", "publish: {repo_id: org/p}\n", "publish: {repo_id: org/q, include_data: true, preview_documents: 3}\n"):
        found = survey(loaded(tmp_path, inline + section))
        assert found.is_finished
        assert found.run_id == made["run_id"]
