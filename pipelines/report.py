"""The report of a version: one HTML file that says what a run did, and needs no network.

A pure function of the manifest and of what was collected beside it. Names of reasons, uris, settings and documents may hold anything,
so that every value goes through `report_html.text` or `report_marked.visible`; all is bounded, so that the file stays under 5 MB whatever
was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pipelines.funnel import funnel_rows
from pipelines.legible import legible
from pipelines.report_charts import Chart
from pipelines.report_dryrun import dry_run_page, note_lines
from pipelines.report_origin import checking_lines, environment_lines, input_lines, operators_lines, output_lines
from pipelines.report_page import Part, page, without_documents
from pipelines.report_samples import samples
from pipelines.report_signals import Drawn, signals
from pipelines.report_version import (
    duplicates,
    figure_lines,
    funnel,
    made_line,
    profile,
    quarantine_lines,
    reasons,
    tokens,
    verdict_lines,
    warning_lines,
)
from pipelines.report_work import work
from pipelines.study import ReportData

__all__ = ["dry_run_page", "report", "without_documents"]

NOTHING: Final = ReportData()


def report(manifest: Mapping[str, Any], data: ReportData = NOTHING) -> str:
    """The report of a version as one HTML file, with whatever `data` adds to the manifest."""
    rows = funnel_rows(manifest)
    used = [(row.name, row.seconds) for row in rows if row.step == "operator" and row.seconds is not None]
    drawn = {
        "funnel": funnel(rows),
        "reasons": reasons(rows),
        "signals": signals(data.histograms, data.thresholds, data.studied),
        "duplicates": duplicates(data.component_sizes),
        "tokens": tokens(manifest),
        "documents": profile(manifest),
        "work": work(used, data.works, data.work_totals),
    }
    parts = (
        Part("verdict", None, list(verdict_lines(manifest))),
        Part("warnings", "Warnings", list(warning_lines(manifest))),
        Part("figures", None, list(figure_lines(manifest, rows))),
        Part("funnel", "Funnel", drawn["funnel"].lines),
        Part("reasons", "Reasons", drawn["reasons"].lines),
        Part("signals", "Signals", drawn["signals"].lines),
        Part("duplicates", "Duplicates", drawn["duplicates"].lines),
        Part("tokens", "Tokens", drawn["tokens"].lines),
        Part("documents", "Lengths and languages", drawn["documents"].lines),
        Part("samples", "Documents to read", samples(data.examples, data.pairs, data.quarantined, data.edits)),
        Part("quarantine", "Quarantine", list(quarantine_lines(manifest))),
        Part("work", "Time and memory", drawn["work"].lines),
        Part("input", "Input", list(input_lines(manifest))),
        Part("output", "Output", list(output_lines(manifest))),
        Part("settings", "Settings", list(operators_lines(manifest))),
        Part("environment", "Environment", list(environment_lines(manifest))),
        Part("notes", "Notes", list(note_lines(data.notes))),
        Part("verify", "Check it", list(checking_lines(manifest))),
    )
    title = f"{legible(manifest['name'])} {legible(manifest['version'])}"
    return page(kind="report", title=title, under=made_line(manifest), parts=parts, charts=_charts(drawn.values()))


def _charts(drawn: Iterable[Drawn]) -> Sequence[Chart]:
    return [chart for one in drawn for chart in one.charts]
