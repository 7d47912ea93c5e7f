"""The section `publish` of a pipeline file: which dataset repo on the Hub a finished version goes to, and how.

Owns its keys and their rules. Nothing of it decides what a run makes, so that it is in no fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator

from pipelines.config_places import scheme_of
from pipelines.errors import shown
from pipelines.repo_ids import repo_id_problem
from pipelines.settings_section import Problem, Section


class PublishConfig(Section):
    """Where a finished version is published: a dataset repo on the Hugging Face Hub. None of it decides what a run makes."""

    repo_id: str = Field(
        max_length=1000,  # of what a message about it shows; how long an id may be is a rule of the Hub's
        description="Dataset repo on the Hub, `OWNER/NAME`; it is made when it is not there.",
        examples=["org/quickstart"],
        json_schema_extra={"pattern": "^[^/]+/[^/]+$"},  # for editors; `repo_id_problem` says what is wrong, and how to mend it
    )
    private: bool = Field(
        default=True, description="A repo that is made is private; one that is there stays as it is. false: everybody may read it."
    )
    include_data: bool = Field(
        default=False,
        description="true: the shards and side tables are uploaded; false: they stay at output.uri, and the repo holds manifest, card and "
        "preview, from which `open_dataset` finds them.",
    )
    create_pr: bool = Field(
        default=False,
        description="true: open a pull request with the difference as its description, for a person to merge; false: move main.",
    )
    preview_documents: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="Documents of the split `preview`, which the Hub's viewer shows, from shards all over the version; 0: none.",
    )

    @field_validator("repo_id")
    @classmethod
    def _is_a_repo_id(cls, value: str) -> str:
        problem = repo_id_problem(value)
        if problem is not None:
            raise ValueError(problem if problem.startswith("expected ") else f"{shown(value)!r} cannot name a repo: {problem}")
        return value


def publish_problems(publish: PublishConfig | None, output_uri: str | None) -> Iterator[Problem]:
    """A published version that would point to documents which nobody can reach; what is None could not be read."""
    if publish is not None and output_uri is not None and not publish.include_data and scheme_of(output_uri) == "memory":
        message = f"the documents would stay in {output_uri}, the memory of a process that ends; write `include_data: true`"
        yield Problem(("publish", "include_data"), message)
