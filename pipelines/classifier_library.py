"""fastText's own library, in a process of its own: it trains a classifier from a file of lines and saves it.

Owns every use of the library. A process of its own can be interrupted, gives back its memory, and begins with memory that is zero: with one
thread the library sets only a tenth of its input matrix and takes the rest as it finds it, so that the same input gave other models, or
"Encountered NaN" at once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pipelines.errors import ShardmillError, shown

DISTRIBUTION: Final = "fasttext-numpy2-wheel"
ZEROED: Final = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=131072"
"""glibc fills new memory with the complement of `perturb`, and takes large pieces, never used before, from the system."""
FAILED: Final = 3


def library_version() -> str:
    """The version of the installed library.

    Raises:
        ShardmillError: It is not installed.
    """
    if importlib.util.find_spec("fasttext") is None:
        raise ShardmillError("train-classifier needs fastText's library, which is not installed; run: pip install 'shardmill[fasttext]'")
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def train(lines: Path, model: Path, settings: Mapping[str, Any], quantize: Mapping[str, Any] | None, *, progress: bool) -> None:
    """Train a classifier and save it.

    Args:
        lines: Training documents, one a line, each after its `__label__`.
        model: Where the model goes.
        settings: Arguments of the library's `train_supervised`.
        quantize: Arguments of its `quantize`; None: the model is saved as it is.
        progress: The library shows its progress on standard error.

    Raises:
        ShardmillError: The library failed.
    """
    job = {"lines": str(lines), "model": str(model), "settings": dict(settings), "quantize": quantize, "progress": progress}
    tunables = ":".join(filter(None, (os.environ.get("GLIBC_TUNABLES"), ZEROED)))
    with subprocess.Popen(  # noqa: S603  our own module, by this interpreter
        [sys.executable, "-m", "pipelines.classifier_library", json.dumps(job)],
        env=os.environ | {"GLIBC_TUNABLES": tunables},
        stdout=subprocess.PIPE,
        stderr=None if progress else subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            out, err = process.communicate()
        finally:
            # Interrupted, it must be gone before its folder is removed; `subprocess.run` would not wait for that.
            process.kill()
            process.wait()
    if process.returncode == FAILED:
        raise ShardmillError(f"fastText cannot train: {shown(out)}{_remedy(out)}")
    if process.returncode:
        raise ShardmillError(
            f"fastText's process ended with status {process.returncode}: {shown((err or out)[-200:]) or 'it said nothing'}; "
            "if the machine has no memory left, choose a smaller --bucket or --dim"
        )


def _remedy(message: str) -> str:
    if "NaN" in message:
        return "; the learning rate is too high: choose a smaller --lr"
    if "vocabulary" in message:
        return "; choose a smaller --min-count"
    if "quantization" in message:
        return "; train without --quantize: the model is small as it is"
    return ""


def _perform(job: Mapping[str, Any]) -> None:
    import fasttext  # noqa: PLC0415

    verbose = 2 if job["progress"] else 0
    model = fasttext.train_supervised(input=job["lines"], verbose=verbose, **job["settings"])
    if job["quantize"] is not None:
        model.quantize(input=job["lines"], verbose=verbose, **job["quantize"])
    model.save_model(job["model"])


if __name__ == "__main__":
    try:
        _perform(json.loads(sys.argv[1]))
    except (RuntimeError, ValueError) as error:
        sys.stdout.write(str(error))
        sys.exit(FAILED)
