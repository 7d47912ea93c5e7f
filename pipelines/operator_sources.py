"""What a reader of a card or report is told about an operator of a manifest: what it does, and whom its rules and numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from operators import BY_TYPE
from operators.catalogue import Description, describe

OF_THE_ENGINE: Final = {"takedown": "Leave out the documents that were taken out of this dataset."}
"""What no pipeline names, and yet stands among a manifest's operators."""


def operator_source(entry: Mapping[str, Any]) -> str | None:
    """One line of Markdown: the operator's promise, its sources, and that of the preset that is set; None for an operator of others.

    All of it is this project's own words, read from its code: nothing of the manifest is in it.

    Args:
        entry: Of `operators` in a manifest.
    """
    if entry["type"] not in BY_TYPE:
        return OF_THE_ENGINE.get(entry["type"])
    about = _described(entry["type"])
    line = about.promise
    if about.sources:
        line += f" Source: {about.sources.rstrip('.')}."
    preset = entry["settings"].get("preset")
    if isinstance(preset, str) and preset in about.presets:
        line += f" Preset `{preset}`: {about.presets[preset].source.rstrip('.')}."
    elif isinstance(preset, str) and preset in about.curves:
        line += f" Preset `{preset}`: {about.curves[preset].source.rstrip('.')}."
    return line


@lru_cache
def _described(kind: str) -> Description:
    return describe(kind)
