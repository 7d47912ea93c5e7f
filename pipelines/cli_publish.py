"""The command `publish`: the current version of an output as a dataset repo on the Hub.

Owns what it prints, and how its options and the version's own `publish` section come together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json
from pipelines.cli_signals import terminable
from pipelines.errors import ConfigError, NotFound, ShardmillError

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig
    from pipelines.publish import Published
    from pipelines.settings_publish import PublishConfig


@click.command()
@click.argument("uri")
@click.option("--repo", "repo_id", metavar="ORG/NAME", help="The dataset repo; default: publish.repo_id of the pipeline that made it.")
@click.option("--private/--public", default=None, help="Whether the repo is private; default: private.")
@click.option("--include-data/--no-data", default=None, help="Whether the repo holds the shards, or only says where they are (default).")
@click.option("--create-pr/--no-pr", default=None, help="Open a pull request instead of moving main.")
@click.option("--preview-documents", type=click.IntRange(0, 100_000), metavar="N", help="Documents of the preview; 0: none.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, in how many commits, and how long the Hub's limits make it take.")
@json_option
def publish(uri: str, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Publish the current version of an output on the Hugging Face Hub.

    The repo moves to the version in one commit, or not at all. Started again after whatever happened, it goes on where it was; what is
    published already is not published again. The token is read from HF_TOKEN, or from where `hf auth login` leaves it.
    """
    from pipelines.publish import foretell  # noqa: PLC0415
    from pipelines.publish import publish as publish_output  # noqa: PLC0415

    settings = settings_for(uri, options)
    if dry_run:
        line = foretell(uri, settings)
        if as_json:
            write_json({"repo_id": settings.repo_id, "plan": line})
        else:
            click.echo(line)
        return
    with terminable():
        done = publish_output(uri, settings, note=_note)
    if as_json:
        write_json(done.to_json())
    else:
        click.echo("\n".join(lines_of(done)))


def settings_for(uri: str, options: Mapping[str, Any]) -> PublishConfig:
    """The settings that the options and the version's own `publish` section give.

    Raises:
        ConfigError: No repo is named, or an option is not one that the Hub takes.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from pipelines.settings_publish import PublishConfig  # noqa: PLC0415
    from pipelines.storage import open_store  # noqa: PLC0415
    from pipelines.version import current_manifest  # noqa: PLC0415

    found = current_manifest(open_store(uri))
    if found is None:
        raise NotFound(f"{uri}: no manifest.json: no version is finished here, so there is nothing to publish; run the pipeline first")
    section = dict(found[0]["config"].get("publish") or {})
    if section.get("private"):  # a manifest has every default, so that this says nothing of a repo that is there
        del section["private"]
    section |= {key: value for key, value in options.items() if value is not None}
    if "repo_id" not in section:
        raise ConfigError(f"{uri}: no repo is named, and the pipeline that made it has no `publish` section; say --repo ORG/NAME")
    try:
        return PublishConfig.model_validate(section)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(one) for one in error.errors())) from None


def _problem(error: Mapping[str, Any]) -> str:
    name = {"repo_id": "--repo"}.get(str(error["loc"][0]) if error["loc"] else "", "publish")
    return f"{name}: {str(error['msg']).removeprefix('Value error, ')}"


def lines_of(done: Published) -> list[str]:
    """What came of it, for a person."""
    if done.pull is not None:
        what = "is open" if done.changed else "was open already and holds everything; there was nothing to do"
        first = f"{done.version}: pull request {done.pull.number} {what}: {done.pull.url}"
        return [first, "After it is merged, publish again: the tag is set then."]
    what = "is published" if done.changed else "was published already; there was nothing to do"
    return [
        f"{done.version} {what}: {done.url} (commit {done.commit[:12]}, tag {done.version})",
        f"Check it with: shardmill verify hf://datasets/{done.repo_id}@{done.version}",
    ]


def check_publishing(config: PipelineConfig) -> None:
    """Prove, before a run begins, that its result could be published, if its pipeline wants that."""
    if config.publish is not None:
        from pipelines.publish import check_repo  # noqa: PLC0415

        check_repo(config.publish)


def publish_result(config: PipelineConfig, version: str) -> None:
    """Publish what a run has made, if its pipeline wants that.

    Raises:
        ShardmillError: It could not be published; the version is finished all the same.
    """
    if config.publish is None:
        return
    from pipelines.publish import publish as publish_output  # noqa: PLC0415

    uri = config.output.uri
    try:
        done = publish_output(uri, config.publish, config.output.storage_options, _note)
    except ShardmillError as error:
        message = f"{version} is finished in {uri}, but not published: {error.message}; then: shardmill publish {uri}"
        raise type(error)(message) from error
    for line in lines_of(done):
        _note(line)


def _note(message: str) -> None:
    click.echo(message, err=True)


COMMANDS: list[click.Command] = [publish]
