"""The pipeline's folder on its way to Kubernetes: a ConfigMap that head and workers mount.

Owns which files go, how a ConfigMap names them, and where they are found in a pod.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster.target import Job, TargetError

MOUNT: Final = "/shardmill/pipeline"
MAX_BYTES: Final = 1024**2 - 16 * 1024
"""What Kubernetes takes is 1 MiB, names and all."""
MAX_FILES: Final = 1000
_INSIDE: Final = "pipeline"
_NUMBERED: Final = re.compile(r"[0-9]+__")


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files of a folder, by their path in it."""

    contents: dict[str, bytes]

    @classmethod
    def of(cls, job: Job) -> FolderFiles:
        """Read the folder of a job: everything but what is hidden, compiled, or an output of shardmill.

        Raises:
            TargetError: It is larger than a ConfigMap may be, or cannot be read.
        """
        contents: dict[str, bytes] = {}
        total = 0
        try:
            for path in _files(job.folder):
                relative = path.relative_to(job.folder).as_posix()
                total += path.stat().st_size + len(relative)
                if total > MAX_BYTES or len(contents) >= MAX_FILES:
                    raise _too_large(job.folder, relative)
                contents[relative] = path.read_bytes()
        except OSError as error:
            raise TargetError(f"{job.folder}: the pipeline's folder cannot be read: {error.strerror}: {error.filename}") from error
        except UnicodeEncodeError as error:
            raise TargetError(f"{job.folder}: the name of a file in it is no text; rename it") from error
        return cls(contents)

    def config_map_data(self) -> dict[str, dict[str, str]]:
        """`data` and `binaryData` of a ConfigMap. Keys are numbers, since a key has no `/`; `volume` gives the files their paths back.

        Raises:
            TargetError: Written as text, they are too large.
        """
        text: dict[str, str] = {}
        binary: dict[str, str] = {}
        for key, content in zip(self._keys(), self.contents.values(), strict=True):
            try:
                text[key] = content.decode()
            except UnicodeDecodeError:
                binary[key] = base64.b64encode(content).decode()
        if sum(map(len, (*text.values(), *binary.values()))) > MAX_BYTES:
            raise _too_large(Path("the pipeline's folder"), next(iter(self.contents)))
        return {name: data for name, data in (("data", text), ("binaryData", binary)) if data}

    def volume(self, config_map: str) -> dict[str, Any]:
        """The volume of a pod that holds the files under their own paths."""
        items = [{"key": key, "path": f"{_INSIDE}/{path}"} for key, path in zip(self._keys(), self.contents, strict=True)]
        return {"name": "pipeline", "configMap": {"name": config_map, "items": items}}

    def _keys(self) -> Iterator[str]:
        # The path with what a key may not have replaced, to be read by people; the number makes it the only one.
        for number, path in enumerate(self.contents):
            readable = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in path)[-200:]
            yield readable if readable == path and not _NUMBERED.match(path) else f"{number}__{readable}"


def mount() -> dict[str, Any]:
    """Where a container finds the volume.

    The `subPath` makes plain files of them: a ConfigMap's own are links into a hidden folder, beside which Python would look for modules.
    """
    return {"name": "pipeline", "mountPath": MOUNT, "subPath": _INSIDE, "readOnly": True}


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _is_source(Path(parent, name)))
        yield from (
            Path(parent, name)
            for name in sorted(names)
            if not name.startswith(".") and not name.endswith(".pyc") and Path(parent, name).is_file()
        )


def _is_source(folder: Path) -> bool:
    """Whether a folder is written by people: not compiled code, an environment, or an output of shardmill."""
    made = folder.name in ("__pycache__", "node_modules", "_shardmill")
    return not (made or (folder / "pyvenv.cfg").is_file() or (folder / "_shardmill").is_dir())


def _too_large(folder: Path, at: str) -> TargetError:
    return TargetError(
        f"{folder}: the pipeline's folder does not fit into a ConfigMap, which holds 1 MiB (reached at {at}); "
        "keep only the pipeline file and its own modules there, or put the folder into the image and name it in "
        "`submit.kuberay.folder_in_image`, or upload it as a zip file and name that in `submit.kuberay.working_dir`"
    )
