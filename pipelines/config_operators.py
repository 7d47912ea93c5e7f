"""The operators of a pipeline file: which class a `type` means, built-in or from the pipeline's own folder.

Owns the messages about types that are unknown, later, or cannot be loaded. What an operator's settings mean, its class says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from operators.base import Operator, OperatorError
from pipelines.config_validate import near
from pipelines.errors import ConfigError, NotYet, shown

CUSTOM_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")

LATER = ("minhash_dedup", "line_dedup", "paragraph_dedup", "url_dedup")
"""Operators of the contract that come later."""


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
    if kind in LATER:
        raise ValueError(later_message(kind))
    raise ValueError(f"no operator is called {shown(kind)!r}; {near(kind, known, 'operators')}")


def check_built_in(kind: str) -> None:
    """See that there is a built-in operator of a type.

    Raises:
        ConfigError: There is none.
        NotYet: It comes later.
    """
    known = built_in()
    if kind not in known and kind in LATER:
        raise NotYet(later_message(kind))
    if kind not in known:
        raise ConfigError(f"no operator is called {shown(kind)!r}; {near(kind, known, 'operators')}")


def later_message(kind: str) -> str:
    """What to say about an operator that is not here yet."""
    message = f"the operator {kind!r} is not in this build yet; "
    if kind == "url_dedup":
        return message + "use `type: exact_dedup` with `columns: [url]`"
    return message + "use `exact_dedup` for exact copies, or leave it out"


def _custom_class(kind: str, folder: Path) -> type[Operator]:
    from operators.custom import load_custom  # noqa: PLC0415

    try:
        return load_custom(kind, folder)
    except OperatorError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # the pipeline's own code runs here, and may raise anything
        raise ValueError(f"importing {kind!r} from {folder} failed with {type(error).__name__}: {shown(error)}; mend the module") from error
