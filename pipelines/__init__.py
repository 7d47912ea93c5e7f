"""What a run is: pipeline files, inventories, plans, units, commits and versions. May import `operators` and `cluster`.

For users of a finished output there is one name, `open_dataset`; everything else is for the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.dataset import open_dataset

__all__ = ["open_dataset"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: workers import this package too, and need neither datasets nor pandas."""
    if name == "open_dataset":
        from pipelines.dataset import open_dataset  # noqa: PLC0415

        return open_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
