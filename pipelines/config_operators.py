"""The operators of a pipeline file: which class a `type` means, built-in or from the pipeline's own folder.

Owns the messages about types that are unknown or cannot be loaded. What an operator's settings mean, its class says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from operators.base import Operator, OperatorError
from pipelines.config_validate import near
from pipelines.errors import shown

CUSTOM_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")


def built_in() -> Mapping[str, type[Operator]]:
    """Every operator that a pipeline may name by its type."""
    # Imported late: the operators bring pyarrow and numba with them, and `shardmill --help` needs neither.
    from operators import BY_TYPE  # noqa: PLC0415

    return BY_TYPE


def operator_class(kind: str, folder: Path) -> type[Operator]:
    """The class of an operator's type.

    Raises:
        ValueError: There is none, with the nearest name or what to do instead.
    """
    known = built_in()
    if kind in known:
        return known[kind]
    if CUSTOM_TYPE.fullmatch(kind):
        return _custom_class(kind, folder)
    module, _, name = kind.rpartition(".")
    meant = f"{module}:{name}"
    hint = f"one of your own is written {shown(meant)!r}" if CUSTOM_TYPE.fullmatch(meant) else near(kind, known, "operators")
    raise ValueError(f"no operator is called {shown(kind)!r}; {hint}")


def _custom_class(kind: str, folder: Path) -> type[Operator]:
    from operators.custom import load_custom  # noqa: PLC0415

    try:
        return load_custom(kind, folder)
    except OperatorError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # the pipeline's own code runs here, and may raise anything
        raise ValueError(f"importing {kind!r} from {folder} failed with {type(error).__name__}: {shown(error)}; mend the module") from error
