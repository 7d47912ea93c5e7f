"""The command `train-classifier`. Owns its options and what it prints; the work is in classifier_training.py."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from pipelines.cli_authoring import json_option
from pipelines.cli_output import write_json, write_table
from pipelines.cli_signals import terminable
from pipelines.errors import ConfigError, shown

Command = Callable[..., int | None]

LOSSES = ("softmax", "hs", "ova", "ns")
SHOWN_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MAX_LABELS_SHOWN = 30
RATES = ("precision", "recall", "f1")
EXAMPLES = """\b
Examples:
  shardmill train-classifier --label yes='medicine/*.jsonl' --label no='other/*.parquet' --output medicine.bin
  shardmill train-classifier 'labelled/*.parquet' --label-column subject --output subjects.bin"""
PLAIN = re.compile(r"(?!(?:y|n|yes|no|true|false|on|off|null)$)[A-Za-z_./][A-Za-z0-9_./-]*", re.IGNORECASE)
"""Texts that YAML takes as they stand."""


def _input_options(command: Command) -> Command:
    """Where labelled documents are."""
    options = (
        click.argument("inputs", nargs=-1, metavar="[INPUT]..."),
        click.option("--label", "labelled", multiple=True, metavar="NAME=URI", help="Documents of one label; may be given again."),
        click.option("--label-column", default="label", show_default=True, metavar="NAME", help="Column of the labels of INPUT."),
        click.option("--text-column", default="text", show_default=True, metavar="NAME", help="Column of the text."),
        click.option("--format", "file_format", type=click.Choice(["parquet", "jsonl", "warc"]), help="Default: from the extension."),
        click.option(
            "--storage-option",
            "storage",
            multiple=True,
            metavar="KEY=VALUE",
            help="For the store, as endpoint_url=…; secrets: environment.",
        ),
    )
    return _with(options, command)


def _text_options(command: Command) -> Command:
    """What is done to the text; the operator needs the same."""
    options = (
        click.option("--lowercase", is_flag=True, help="Turn the text into lower case."),
        click.option("--max-chars", type=click.IntRange(min=1), metavar="N", help="Read only this many characters of a document."),
        click.option(
            "--holdout", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True, help="Fraction to measure with."
        ),
        click.option("--positive", metavar="NAME", help="Label whose thresholds are shown; default: the first given, else the rarest."),
    )
    return _with(options, command)


def _model_options(command: Command) -> Command:
    """How the model is trained."""
    positive, natural = click.IntRange(min=1), click.IntRange(min=0)
    options = (
        click.option("--dim", type=positive, default=100, show_default=True, help="Size of the vectors."),
        click.option("--epochs", type=positive, default=5, show_default=True, help="Passes over the documents."),
        click.option("--lr", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True, help="Learning rate."),
        click.option("--word-ngrams", type=click.IntRange(1, 64), default=1, show_default=True, help="Longest run of words as a feature."),
        click.option("--minn", type=click.IntRange(0, 64), default=0, show_default=True, help="Shortest character n-gram."),
        click.option("--maxn", type=click.IntRange(0, 64), default=0, show_default=True, help="Longest character n-gram; 0: none."),
        click.option(
            "--loss", type=click.Choice(LOSSES), default="softmax", show_default=True, help="Loss; ova: labels are judged singly."
        ),
        click.option("--min-count", type=positive, default=1, show_default=True, help="Times that a word must occur to be known."),
        click.option("--bucket", type=positive, default=2_000_000, show_default=True, help="Rows that all n-grams share."),
        click.option("--seed", type=natural, default=0, show_default=True, help="Of the random numbers."),
        click.option("--threads", type=positive, default=1, show_default=True, help="Above 1 no two models are the same."),
        click.option("--quantize", is_flag=True, help="Compress the model to about a tenth; --output must end in .ftz."),
        click.option("--cutoff", type=natural, default=0, show_default=True, help="With --quantize: keep this many words; 0: all."),
    )
    return _with(options, command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


@click.command("train-classifier", epilog=EXAMPLES)
@_input_options
@click.option("--output", required=True, metavar="FILE", help="The model, path or URI: NAME.bin, or NAME.ftz with --quantize.")
@_text_options
@_model_options
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def train_classifier(
    inputs: tuple[str, ...],
    labelled: tuple[str, ...],
    label_column: str,
    text_column: str,
    file_format: str | None,
    storage: tuple[str, ...],
    output: str,
    lowercase: bool,
    max_chars: int | None,
    holdout: float,
    positive: str | None,
    as_json: bool,
    quiet: bool,
    **training: Any,
) -> None:
    """Train a classifier from labelled documents, for the operator `classifier`.

    Part of the documents is held out, by a hash of their text, to measure the model: precision and recall of each label, and of each
    threshold. With one thread the same documents give the same model, byte for byte. FILE.json says how it was made.
    """
    from pipelines.classifier_documents import Preparation  # noqa: PLC0415
    from pipelines.classifier_training import Request, Training  # noqa: PLC0415
    from pipelines.classifier_training import train_classifier as train  # noqa: PLC0415

    request = Request(
        given=_given(inputs, labelled),
        output=output,
        training=Training(**training),
        preparation=Preparation(lowercase, max_chars),
        text_column=text_column,
        label_column=label_column,
        format=file_format,
        storage_options=_pairs(storage),
        positive=positive,
        holdout=holdout,
    )
    show = not quiet and sys.stderr.isatty()
    with terminable():
        about = train(request, lambda line: None if quiet else click.echo(f"{line}…", err=True), progress=show)
    if as_json:
        write_json(about)
    else:
        _write(about)


COMMANDS: list[click.Command] = [train_classifier]


def _given(inputs: tuple[str, ...], labelled: tuple[str, ...]) -> Any:
    """The documents as they are named: by label, or in files that have a column of labels.

    Raises:
        ConfigError: Neither or both are given, or a label is none.
    """
    from pipelines.classifier_documents import Labelled, check_label  # noqa: PLC0415

    if bool(inputs) == bool(labelled):
        raise ConfigError("give the documents either as --label NAME=URI, at least twice, or as INPUT files with a column of labels")
    if inputs:
        return (Labelled(None, inputs),)
    by_label: dict[str, list[str]] = {}
    for pair in labelled:
        name, equals, uri = pair.partition("=")
        if not equals or not uri:
            raise ConfigError(f"--label {shown(pair)}: expected NAME=URI, as --label yes='medicine/*.jsonl'")
        by_label.setdefault(check_label(name), []).append(uri)
    return tuple(Labelled(label, tuple(uris)) for label, uris in by_label.items())


def _pairs(storage: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in storage:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--storage-option {shown(key)}: expected KEY=VALUE, as endpoint_url=http://localhost:9000")
        found[key] = value
    return found


def _write(about: Mapping[str, Any]) -> None:
    """The result for a person: documents, measures by label and by threshold, and the operator to copy."""
    holdout, pipeline = about["holdout"], about["pipeline"]
    rows = [_label_row(label, counts, holdout) for label, counts in about["labels"].items()]
    headers = ("label", "trained with", "held out", "precision", "recall", "F1")
    write_table(headers if holdout else headers[:2], [row if holdout else row[:2] for row in rows[:MAX_LABELS_SHOWN]])
    if len(rows) > MAX_LABELS_SHOWN:
        click.echo(f"… and {len(rows) - MAX_LABELS_SHOWN} labels more, in {about['model']['uri']}.json")
    for line in _remarks(about):
        click.echo(line)
    if holdout:
        best = pipeline["min_score"]
        click.echo(f"\nHeld-out documents that a pipeline keeps by the score of {pipeline['label']!r}:")
        thresholds = [row for row in holdout["thresholds"][pipeline["label"]] if row["min_score"] in (*SHOWN_THRESHOLDS, best)]
        shown_rates = [(f"{row['min_score']:g}", *(_percent(row[name]) for name in ("kept", *RATES))) for row in thresholds]
        write_table(("min_score", "kept", "precision", "recall", "F1"), shown_rates)
    click.echo(f"\nWrote {about['model']['uri']} ({about['model']['bytes'] / 1e6:,.1f} MB) and {about['model']['uri']}.json.")
    click.echo("In a pipeline, with the threshold of the best F1:\n" if holdout else "In a pipeline:\n")
    for place, (key, value) in enumerate(pipeline.items()):
        click.echo(f"  {'-' if place == 0 else ' '} {key}: {_yaml(value)}")


def _label_row(label: str, counts: Mapping[str, int], holdout: Mapping[str, Any] | None) -> tuple[str, ...]:
    measured = holdout["labels"].get(label, {}) if holdout else {}
    rates = (_percent(measured.get(name)) for name in RATES)
    return label, f"{counts['trained']:,}", f"{counts['held_out']:,}", *rates


def _remarks(about: Mapping[str, Any]) -> list[str]:
    lines = []
    if about["skipped"]:
        lines.append("Skipped: " + ", ".join(f"{number:,} {why}" for why, number in about["skipped"].items()))
    if about["conflicting"]:
        lines.append(f"Texts that stand under more than one label: {about['conflicting']:,}")
    without = [label for label, counts in about["labels"].items() if about["holdout"] and not counts["held_out"]]
    if without:
        lines.append(f"No document is held out of: {shown(', '.join(without))}; give more documents or a greater --holdout")
    return lines


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.1%}"


def _yaml(value: object) -> str:
    """A value as YAML has it; text in quotes where a bare word could be read as something else."""
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
