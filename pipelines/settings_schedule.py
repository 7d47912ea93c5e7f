"""The section `schedule` of a pipeline file: when the pipeline ingests what is new."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.settings_section import Section


class ScheduleConfig(Section):
    """When `shardmill schedule` ingests. None of it decides what a run makes."""

    cron: str = Field(
        min_length=1, description="Five fields of cron: minute, hour, day of month, month, day of week.", examples=["0 3 * * *"]
    )
    timezone: str = Field(default="UTC", min_length=1, description="Time zone of the IANA database.", examples=["Europe/Berlin"])
    catch_up: Literal["skip", "last", "all"] = Field(
        default="last",
        description="Ticks that nobody was there for. skip: they are passed over; last: the latest of them is made up for; all: each is.",
    )
