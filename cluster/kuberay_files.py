"""The pipeline's folder on its way to Kubernetes: a ConfigMap that head and workers mount.

Owns how a ConfigMap names the files that go along, and where they are found in a pod.
"""

from __future__ import annotations

import base64
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
        """Read what of a job's folder goes along.

        Raises:
            TargetError: It is larger than a ConfigMap may be, or cannot be read.
        """
        contents: dict[str, bytes] = {}
        total = 0
        for name in job.files:
            path = job.folder / name
            try:
                total += path.stat().st_size + len(name)
                if total > MAX_BYTES or len(contents) >= MAX_FILES:
                    raise _too_large(job.folder, name)
                contents[name] = path.read_bytes()
            except OSError as error:
                raise TargetError(f"{path}: it goes to the cluster, and cannot be read: {error.strerror}; make it readable") from error
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
        written = {**text, **binary}
        if sum(map(len, written.values())) > MAX_BYTES:
            raise _too_large(Path("the pipeline's folder"), max(self.contents, key=lambda name: len(self.contents[name])))
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


def _too_large(folder: Path, at: str) -> TargetError:
    return TargetError(
        f"{folder}: the pipeline's folder does not fit into a ConfigMap, which holds 1 MiB (at {at}); "
        "put large files on the object store and name them by URL, or put the folder into the image and name it in "
        "`submit.kuberay.folder_in_image`, or upload it as a zip file and name that in `submit.kuberay.working_dir`"
    )
