"""Training a classifier from labelled documents, for the operator `classifier`: the model, and beside it a JSON file that says what it is.

Owns the settings and what is written. Nothing in it depends on the clock, on file names or on the order of the input: with one thread the
same documents give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from operators.base import OperatorError
from operators.fasttext_model import FastTextModel, load_fasttext
from pipelines.assets import asset_digest
from pipelines.classifier_documents import Counts, Labelled, LabelledDocuments, Preparation, divide
from pipelines.classifier_library import DISTRIBUTION, library_version, train
from pipelines.classifier_metrics import best_threshold, measure
from pipelines.documents import ReadOptions
from pipelines.errors import ConfigError, InputError, ShardmillError, StorageError, shown
from pipelines.redaction import redact, redact_uri, secret_paths
from pipelines.storage import LocalStore, Sources, local_path, open_store
from pipelines.storage_sources import store_class

FORMAT_VERSION: Final = 1
CHUNK_BYTES: Final = 8 << 20
MIN_LABELS: Final = 2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained; the defaults are fastText's own for classifiers (0.9.2), but for one thread.

    Attributes:
        dim: Size of the vectors.
        epochs: Passes over the documents.
        lr: Learning rate.
        word_ngrams: Longest run of words that counts as a feature.
        minn: Shortest character n-gram that does; 0: none.
        maxn: Longest one.
        loss: `softmax`, `hs`, `ova` or `ns`.
        min_count: Times that a word must stand in the documents to be known.
        bucket: Rows that n-grams of words and characters share.
        seed: Of the library's random numbers.
        threads: More than one is faster, but no two models are then the same.
        quantize: Compress the model to about a tenth (`.ftz`).
        cutoff: With `quantize`, keep only this many words and n-grams, and train once more; 0: all.
    """

    dim: int = 100
    epochs: int = 5
    lr: float = 0.1
    word_ngrams: int = 1
    minn: int = 0
    maxn: int = 0
    loss: str = "softmax"
    min_count: int = 1
    bucket: int = 2_000_000
    seed: int = 0
    threads: int = 1
    quantize: bool = False
    cutoff: int = 0

    def for_library(self) -> dict[str, Any]:
        """Arguments of fastText's `train_supervised`."""
        return {
            "dim": self.dim,
            "epoch": self.epochs,
            "lr": self.lr,
            "wordNgrams": self.word_ngrams,
            "minn": self.minn,
            "maxn": self.maxn,
            "loss": self.loss,
            "minCount": self.min_count,
            "bucket": self.bucket,
            "seed": self.seed,
            "thread": self.threads,
        }

    def for_quantizer(self) -> dict[str, Any] | None:
        """Arguments of fastText's `quantize`; None: it is not asked for."""
        if not self.quantize:
            return None
        again = {"retrain": True, "epoch": self.epochs, "lr": self.lr} if self.cutoff else {}
        return {"cutoff": self.cutoff, "qnorm": True, "thread": self.threads, **again}


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for.

    Attributes:
        given: Where the labelled documents are.
        output: Where the model goes, path or URI.
        positive: The label whose threshold is wanted; None: the first that was given, else the rarest.
        holdout: Fraction of the texts that is held out and measured on.
    """

    given: tuple[Labelled, ...]
    output: str
    training: Training = field(default_factory=Training)
    preparation: Preparation = field(default_factory=Preparation)
    text_column: str = "text"
    label_column: str = "label"
    format: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    positive: str | None = None
    holdout: float = 0.1


def check(request: Request) -> None:
    """Refuse what cannot work before anything is read.

    Raises:
        ConfigError: Settings contradict each other, or hold a secret.
    """
    expected = ".ftz" if request.training.quantize else ".bin"
    if not request.output.endswith(expected) or request.output.endswith("/" + expected):
        raise ConfigError(
            f"--output {shown(redact_uri(request.output))}: a model {'with' if request.training.quantize else 'without'} --quantize "
            f"is a file NAME{expected}"
        )
    if request.training.cutoff and not request.training.quantize:
        raise ConfigError("--cutoff is a setting of --quantize; give both or neither")
    if request.training.maxn and request.training.minn > request.training.maxn:
        raise ConfigError(f"--minn {request.training.minn} is above --maxn {request.training.maxn}; no n-gram could count")
    for path in secret_paths(request.storage_options):
        raise ConfigError(f"--storage-option {'.'.join(path)} is a secret; set it in the environment, where the store finds it")
    if len(request.given) > 1 and any(labelled.label is None for labelled in request.given):
        raise ConfigError("give either --label NAME=URI for every label, or INPUT files with a column of labels")


def train_classifier(request: Request, say: Say, *, progress: bool = False) -> dict[str, Any]:
    """Train a model, measure it, write it and the JSON beside it; both appear whole or not at all. Returns that JSON.

    Raises:
        ConfigError: The settings cannot work.
        InputError: The documents cannot be read, or are too few.
        ShardmillError: fastText is not installed or failed, or the output cannot be written.
    """
    check(request)
    version = library_version()
    target = _Target(request)
    sources = Sources(request.storage_options)
    options = ReadOptions(request.format, request.text_column, None, ())
    documents = LabelledDocuments(sources, request.given, options, request.label_column)
    with tempfile.TemporaryDirectory(prefix="shardmill-classifier-") as folder:
        lines, held_out, path = (Path(folder) / each for each in ("lines", "held_out", target.name))
        say("reading documents")
        counts = divide(documents, request.preparation, request.holdout, lines, held_out, documents.num_bytes)
        positive = _checked(request, counts)
        say(f"training with {sum(counts.trained.values()):,} documents")
        train(lines, path, request.training.for_library(), request.training.for_quantizer(), progress=progress)
        model = _opened(path)
        say(f"measuring with {sum(counts.held_out.values()):,} documents")
        metrics = measure(model, held_out, counts.labels) if request.holdout else None
        about = _about(request, documents, counts, metrics, positive, {"shardmill": metadata.version("shardmill"), DISTRIBUTION: version})
        about["inputs"] = [
            {"label": label, "uri": redact_uri(uri), "rows": rows, "sha256": asset_digest(sources, uri)}
            for label, uri, rows in documents.uris
        ]
        about["model"] |= _facts(path)
        target.write(path, about)
    return about


class _Target:
    """Where the model and its JSON go: a local folder, or a store. That it can be written is seen before the work begins."""

    def __init__(self, request: Request) -> None:
        uri = request.output
        self.name = uri.rpartition("/")[2]
        self._folder = Path(local_path(uri)).parent if store_class(uri) is LocalStore else None
        self._store = None if self._folder else open_store(uri.rpartition("/")[0], request.storage_options)
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._write(f"{self.name}.probe", [b""])
            self._delete(f"{self.name}.probe")
        except OSError as error:
            raise StorageError(f"--output {shown(redact_uri(uri))} cannot be written ({error.strerror}); give another folder") from error

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """The model first: the JSON beside it names its digest, so that the JSON of another model is known as such."""
        self._write(self.name, _chunks(path))
        self._write(f"{self.name}.json", [(json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()])

    def _write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file that appears whole or not at all."""
        if self._store is not None:
            with self._store.writer(name) as sink:
                for chunk in chunks:
                    sink.write(chunk)
            return
        assert self._folder is not None
        temporary = self._folder / f".{name}.{os.getpid()}"
        try:
            with temporary.open("xb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _delete(self, name: str) -> None:
        if self._store is not None:
            self._store.delete([name])
        elif self._folder is not None:
            (self._folder / name).unlink()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _checked(request: Request, counts: Counts) -> str:
    """The label whose threshold is wanted.

    Raises:
        InputError: There is too little to train with.
    """
    known = [label for label in counts.labels if counts.trained[label]]
    if len(known) < MIN_LABELS:
        found = ", ".join(f"{counts.trained[label]:,} of {label!r}" for label in known) or "none"
        skipped = ", ".join(f"{number:,} {why}" for why, number in sorted(counts.skipped.items()))
        raise InputError(
            f"documents to train with: {found}; a classifier needs some of at least two labels"
            f"{f' (skipped: {skipped})' if skipped else ''}; give more documents"
        )
    if request.positive is not None:
        if request.positive not in known:
            raise ConfigError(f"--positive {request.positive!r} is no label of the documents; they have {shown(', '.join(known))}")
        return request.positive
    first = request.given[0].label
    return first if first is not None and first in known else min(known, key=lambda label: (counts.trained[label], label))


def _opened(path: Path) -> FastTextModel:
    try:
        model = load_fasttext(str(path), path.name)
    except OperatorError as error:
        raise ShardmillError(f"the model that fastText wrote cannot be read: {error}") from error
    if model.is_blank:
        raise ShardmillError("no word stands often enough in the documents to be known to the model; choose a smaller --min-count")
    return model


def _facts(path: Path) -> dict[str, Any]:
    state = hashlib.sha256()
    for chunk in _chunks(path):
        state.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": state.hexdigest()}


def _about(
    request: Request,
    documents: LabelledDocuments,
    counts: Counts,
    metrics: dict[str, Any] | None,
    positive: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """What the JSON beside the model says; inputs and the model's own facts are added to it."""
    min_score = 0.5 if metrics is None else best_threshold(metrics["thresholds"][positive])
    uri = redact_uri(request.output)
    chosen = {key: value for key, value in asdict(request.preparation).items() if value}
    settings = {"type": "classifier", "name": positive if positive.isidentifier() else "classifier", "model": uri, "label": positive}
    return {
        "format_version": FORMAT_VERSION,
        "model": {"uri": uri},
        "pipeline": {**settings, **chosen, "min_score": min_score},
        "labels": {label: {"trained": counts.trained[label], "held_out": counts.held_out[label]} for label in counts.labels},
        "skipped": dict(sorted(counts.skipped.items())),
        "conflicting": counts.conflicting,
        "holdout": metrics,
        "settings": {
            **asdict(request.training),
            **asdict(request.preparation),
            "holdout": request.holdout,
            "text_column": request.text_column,
            "label_column": request.label_column if documents.by_column else None,
            "storage_options": redact(dict(request.storage_options), in_storage_options=True),
        },
        "environment": dict(versions),
    }
