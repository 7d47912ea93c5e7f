"""Jobs, settings and folders for the tests of KubeRay, and what of them a pod would see."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.target import Job
from pipelines.settings_schedule import ScheduleConfig
from pipelines.settings_submit_kuberay import KubeRaySubmit

PIPELINE = "name: crawl\ninput: {uri: s3://raw/*.parquet}\noutput: {uri: s3://clean/crawl}\n"
IMAGE = "registry.example.org/shardmill:0.1.0"


def options(schedule: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """A section as the command hands it over."""
    when = None if schedule is None else ScheduleConfig.model_validate(schedule).model_dump()
    return {**KubeRaySubmit.model_validate({"image": IMAGE, **settings}).model_dump(), "schedule": when}


def folder(path: Path, files: Mapping[str, str | bytes] = MappingProxyType({})) -> Path:
    """A folder with a pipeline file, and other files."""
    for name, content in {"crawl.yaml": PIPELINE, **files}.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def job(path: Path, job_id: str = "crawl-0123abcd", *arguments: str, **more: Any) -> Job:
    """A job over that folder."""
    words = arguments or ("run", "crawl.yaml", "--set", "cluster.type=ray", "--set", "cluster.address=auto")
    files = tuple(sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()))
    return Job(job_id, "crawl", words, path, **{"files": files, **more})


def expanded(text: str, variables: dict[str, str]) -> str:
    """What Kubernetes makes of a command, an argument or a value: `$(NAME)` is replaced where it is known, and `$$` is `$`."""

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value_of, text)


def driver_words(entrypoint: str, mode: str, variables: dict[str, str]) -> list[str]:
    """The words that the driver's shell sees: KubeRay puts the entrypoint into the submitter's script; Ray's command quotes them again."""
    if mode == "HTTPMode":
        return shlex.split(entrypoint)
    return shlex.split(shlex.join(shlex.split(expanded(entrypoint, variables))))


def mounted(config_map: dict[str, Any], pod: dict[str, Any]) -> dict[str, bytes]:
    """The files that the first container of a pod sees, by their path in the folder that is mounted."""
    (volume,) = pod["volumes"]
    (place,) = pod["containers"][0]["volumeMounts"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert volume["name"] == place["name"]
    text, binary = config_map.get("data", {}), config_map.get("binaryData", {})
    assert not set(text) & set(binary)
    seen = {}
    for item in volume["configMap"]["items"]:
        content = text[item["key"]].encode() if item["key"] in text else base64.b64decode(binary[item["key"]])
        seen[item["path"].removeprefix(f"{place['subPath']}/")] = content
    return seen
