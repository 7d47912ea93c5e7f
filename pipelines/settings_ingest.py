"""The section `ingest` of a pipeline file: what an ingestion does with input files that are not what they were.

Owns its keys. Nothing of it decides which documents a file gives, so that it is in no fingerprint.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.settings_section import Section

Policy = Literal["fail", "keep", "rebuild"]


class IngestConfig(Section):
    """What `shardmill ingest` does with input files that earlier versions took in and that are not there any more as they were."""

    changed: Policy = Field(
        default="fail",
        description="A file whose size or etag is another now. fail: nothing is ingested; keep: its documents stay as they were taken in, "
        "its new content is left out; rebuild: the next version is made anew, of all files as they are now.",
    )
    vanished: Policy = Field(
        default="keep",
        description="A file that is not there any more. keep: its documents stay; fail: nothing is ingested; rebuild: the next version is "
        "made anew, of the files that are there.",
    )
