"""The code of a run on its way to the nodes of a cluster: a folder that Ray takes there as its `working_dir`.

Owns what such a folder holds and how a worker finds what came with it. Only the files' names and contents count, so that the same code has
the same address on the cluster and is sent once.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cluster.shippable import MAX_BYTES, ShippingError, modules_below, named_files, place_packages

PIPELINE: Final = "shipped-pipeline"
"""The pipeline's folder in the folder that is shipped."""
FILES: Final = "shipped-files"
"""Other files, by names of the sender's choice."""
UNPACKED: Final = "working_dir_files"
"""The folder of a node in which Ray unpacks working directories."""
JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""How Ray tells a driver that it is a job, and with which runtime environment."""
FROM, AS, STARTED_IN = "SHARDMILL_SHIPPED_FROM", "SHARDMILL_SHIPPED_AS", "SHARDMILL_STARTED_IN"


@dataclass(frozen=True, slots=True)
class Shipment:
    """What goes to the workers besides our own code.

    Attributes:
        folder: Of the pipeline; its Python modules are shipped if `modules`.
        modules: Whether the pipeline has operators of its own.
        files: Paths of other files by the names under which workers ask for them.
        extra: Patterns of other files in the pipeline's folder, which keep their places beside the modules.
    """

    folder: Path
    modules: bool = False
    files: Mapping[str, Path] = field(default_factory=dict)
    extra: tuple[str, ...] = ()


# --- on the driver


def job_environment() -> Mapping[str, Any] | None:
    """The runtime environment of the Ray job that this process is; None if it is none."""
    text = os.environ.get(JOB)
    found = json.loads(text).get("runtime_env") if text else None
    return found if isinstance(found, dict) else None


def job_folder(environment: Mapping[str, Any]) -> Path | None:
    """Where the working directory of a job lies on this node; None if it has none."""
    uri = environment.get("working_dir")
    if not uri:
        return None
    if urlsplit(uri).scheme == "local":  # a folder of the image
        return Path(urlsplit(uri).path)
    return next((entry for entry in _python_path() if entry.parent.name == UNPACKED), None)


def inherited(shipment: Shipment, folder: Path) -> dict[str, str]:
    """How workers find the pipeline's folder in a job's working directory; nothing if it does not lie there."""
    inside = shipment.folder.resolve()
    if not inside.is_relative_to(folder.resolve()):
        return {}
    return {FROM: str(shipment.folder), AS: str(inside.relative_to(folder.resolve()))}


@contextmanager
def staged(shipment: Shipment) -> Iterator[Path]:
    """A folder with our three packages, the pipeline's modules and other files, for the time of the block.

    Raises:
        ShippingError: It is too much.
    """
    with tempfile.TemporaryDirectory(prefix="shardmill-ship-") as made:
        target = Path(made)
        place_packages(target)
        (target / PIPELINE).mkdir()
        if shipment.modules or shipment.extra:
            _copy(shipment.folder, _wanted(shipment), target / PIPELINE)
        for name, path in sorted(shipment.files.items()):
            (target / FILES).mkdir(exist_ok=True)
            shutil.copyfile(path, target / FILES / name)
        _check_size(target, shipment)
        yield target


def addressed(shipment: Shipment) -> dict[str, str]:
    """How workers find the pipeline's folder in what was staged."""
    return {FROM: str(shipment.folder), AS: PIPELINE}


def _wanted(shipment: Shipment) -> list[Path]:
    """The pipeline's modules, and what its `ship` names."""
    modules = modules_below(shipment.folder) if shipment.modules else []
    return sorted({*modules, *named_files(shipment.folder, shipment.extra)})


def _copy(source: Path, files: list[Path], target: Path) -> None:
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _check_size(folder: Path, shipment: Shipment) -> None:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) <= MAX_BYTES:
        return
    largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
    names = ", ".join(f"{path.relative_to(folder)} ({sizes[path] / 1e6:,.0f} MB)" for path in largest)
    found = sum(sizes.values()) / 1e6
    raise ShippingError(
        f"{shipment.folder}: {found:,.0f} MB would have to be shipped to the cluster, expected at most {MAX_BYTES / 1e6:,.0f}; the largest "
        f"are {names}; put large files where every node reads them"
    )


# --- on a worker


def received() -> Path | None:
    """The folder that came with the run; None where nothing was shipped."""
    name = os.environ.get(AS)
    if name is None:
        return None
    return next((entry for entry in _python_path() if (entry / name).is_dir()), None)


def here(folder: str) -> Path:
    """Where a pipeline's folder, as the driver names it, lies for this process: what was shipped of it, else itself."""
    root = received() if os.environ.get(FROM) == folder else None
    return Path(folder) if root is None else root / os.environ[AS]


def shipped_file(name: str) -> Path | None:
    """A file that was shipped under a name, if it was."""
    root = received()
    path = None if root is None else root / FILES / name
    return path if path is not None and path.is_file() else None


def settle() -> None:
    """Go to the folder in which the driver was started, if this node has it: relative paths count from there."""
    folder = os.environ.get(STARTED_IN)
    if folder and os.path.isdir(folder):  # noqa: PTH112
        os.chdir(folder)


def _python_path() -> Iterator[Path]:
    """Ray puts the folder that it unpacked first."""
    yield from (Path(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)
