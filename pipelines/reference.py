"""The reference of all operators as one Markdown page, made from what they say of themselves.

`python -m pipelines.reference > docs/operators.md` writes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from operators import BY_TYPE
from operators.base import BatchOperator
from operators.catalogue import Description, curve_rows, describe_all
from operators.decision import Test

HEAD = """# Operators

Made by `python -m pipelines.reference` from the operators themselves; `shardmill operators NAME` shows the same for one. How to choose
among them is in [filters.md](filters.md), web pages are in [web.md](web.md).
"""


def page() -> str:
    """The page."""
    listed = describe_all()
    index = table(("operator", "what it does"), ((f"[`{about.type}`](#{about.type})", about.promise) for about in listed))
    return "\n".join([HEAD, *index, *(line for about in listed for line in _section(about))]) + "\n"


def _section(about: Description) -> Iterator[str]:
    yield from ("", f"## {about.type}", "", about.doc, "")
    rows = [
        (f"`{each.name}`", ", ".join(filter(None, (each.type, each.range))), "required" if each.required else _code(each.default), each.doc)
        for each in about.settings
    ]
    yield from table(("setting", "value", "default", "meaning"), rows)
    if about.signals:
        yield ""
        signals = [(f"`{signal.name}`", signal.unit, signal.doc, signal.source) for signal in about.signals]
        yield from table(("signal", "unit", "meaning", "source"), signals)
    if about.signals:
        yield from _tests(about)
    if about.presets:
        yield from _presets(about)
    if about.curves:
        yield from _curves(about)
    if about.sources:
        yield from ("", f"Sources: {about.sources}.")


def _tests(about: Description) -> Iterator[str]:
    """What a quality filter tests with its defaults, in its order."""
    operator = BY_TYPE[about.type].model_validate({})
    assert isinstance(operator, BatchOperator)
    rows = [(f"`{test.reason}`", f"`{test.signal}`" if test.signal else "", _dropped(test)) for test in operator.declared_tests()]
    yield ""
    yield from table(("drop reason", "signal", "dropped with the defaults, in this order"), rows)


def _dropped(test: Test) -> str:
    if test.signal is None:
        return "if it is so"
    setting = f" (`{test.setting}`)" if test.setting else ""
    return f"{test.side} {test.value:,g}{setting}"


def _presets(about: Description) -> Iterator[str]:
    names = dict.fromkeys(name for preset in about.presets.values() for name in preset.values)
    rows = [(f"`{name}`", *(_code(preset.values.get(name)) for preset in about.presets.values())) for name in names]
    yield ""
    yield from table(("preset", *(f"`{name}`" for name in about.presets)), rows)
    yield ""
    yield from (f"- `{name}`: {preset.source}" for name, preset in about.presets.items())


def _curves(about: Description) -> Iterator[str]:
    heads, *rows = curve_rows(about.curves)
    yield ""
    yield from table(heads, ((f"`{name}`", *numbers) for name, *numbers in rows))
    yield ""
    yield "`at 0.5` …: how probable it is that two documents of that similarity meet in a bucket, and so are compared."
    yield ""
    yield from (f"- `{name}`: {curve.source}" for name, curve in about.curves.items())


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    for line in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"


def _code(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    sys.stdout.write(page())
