"""The text of web pages without menus and advertisements. Owns the settings and the columns; the work is done in another process."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, RowError, null_text_errors, text_of, with_column
from operators.extraction_process import Answer, ExtractionProcess

HTML = "html"


class ExtractHtml(BatchOperator):
    """Replace the source of a web page by its text: what people came to read, without what stands around it on every page of a site.

    The source is read from `html_column`, by default the text column itself, which is where `format: warc` puts it; the text goes into the
    text column. With `keep_html` the source is kept in the column `html` (large_string). Each name in `metadata` adds a column
    `html_<name>` (string), null where the page does not say it.

    A process beside the worker does the work. A page that takes more than `timeout_seconds` of its computing time, more memory than it may
    have, or that crashes the parser costs itself alone: it is quarantined as `extraction_timeout`, `extraction_failed` or
    `extraction_crashed`, one above `max_html_bytes` as `html_too_large`. It is computing time, not the clock, so a busy machine quarantines
    no others than an idle one. No page's text depends on other pages: trafilatura's `deduplicate`, which remembers them, is off.

    `trafilatura` with `favor: precision` is what FineWeb used; `resiliparse` with it and `include_comments` what DCLM used, many times
    faster. docs/web.md says what each keeps and drops.

    Drop reasons: `empty_extraction` (nothing is left).
    """

    type: Literal["extract_html"] = "extract_html"
    extractor: Literal["trafilatura", "resiliparse"] = Field(
        default="trafilatura", description="The library that extracts: trafilatura (FineWeb's), or resiliparse (DCLM's, much faster)."
    )
    favor: Literal["precision", "balanced", "recall"] = Field(
        default="precision",
        description=(
            "What to do when unsure: `precision` rather leaves text out (FineWeb's), `recall` rather keeps it. resiliparse has no "
            "`balanced`; its `recall` is all visible text."
        ),
    )
    output: Literal["text", "markdown"] = Field(
        default="text", description="`text`, a line a block, or `markdown` with headings and emphasis (trafilatura only)."
    )
    include_tables: bool = Field(default=True, description="Keep the text of tables (both libraries' default).")
    include_comments: bool = Field(default=False, description="Keep readers' comments (off in FineWeb, on in DCLM).")
    html_column: str | None = Field(default=None, min_length=1, description="Column with the page's source; null: the text column.")
    keep_html: bool = Field(default=False, description="Keep the page's source in the column `html`.")
    metadata: list[Literal["title", "author", "date", "sitename", "description"]] = Field(
        default=[],
        description="What to add as columns `html_title` …; costs trafilatura a second look at the page. resiliparse knows the title only.",
    )
    timeout_seconds: float = Field(
        default=5.0,
        ge=0.05,
        le=3600,
        description=(
            "Most computing time for one page, in seconds. Pages take some 0.02 s with trafilatura; datatrove's limit is 1 s by the clock."
        ),
    )
    max_html_bytes: int = Field(
        default=10 << 20, ge=1, description="Largest page, in bytes of UTF-8; Common Crawl cuts pages at 1 to 5 MiB."
    )
    max_memory_bytes: int = Field(
        default=2 << 30,
        ge=512 << 20,
        description="Most address space of the process that extracts, in bytes; a page takes some 50 times its size.",
    )

    may_edit_text: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("trafilatura", "resiliparse", "lxml", "jusText", "htmldate", "courlan")
    sources: ClassVar[str] = (
        "FineWeb (arXiv:2406.17557) and datatrove 0.10: trafilatura, favour_precision; DCLM (arXiv:2406.11794): resiliparse, main_content"
    )

    @model_validator(mode="after")
    def _the_extractor_can_do_it(self) -> Self:
        if self.extractor != "resiliparse":
            return self
        beyond = [name for name in self.metadata if name != "title"]
        if self.favor == "balanced":
            raise ValueError("favor: resiliparse has no 'balanced'; use precision (main content) or recall (all visible text)")
        if self.output == "markdown":
            raise ValueError("output: resiliparse gives no markdown; use text, or extractor: trafilatura")
        if beyond:
            raise ValueError(f"metadata: resiliparse does not tell the {beyond[0]}; leave it out, or use extractor: trafilatura")
        return self

    @model_validator(mode="after")
    def _the_source_is_kept_once(self) -> Self:
        if self.keep_html and self.html_column is not None:
            raise ValueError(f"keep_html: column {self.html_column!r} keeps the source anyway; leave keep_html out")
        if len(set(self.metadata)) < len(self.metadata):
            raise ValueError(f"metadata: {self.metadata} names something twice; name it once")
        return self

    def open(self, assets: Assets) -> BatchFn:
        """Return the function that extracts; the process is started with the first page.

        Raises:
            OperatorError: The extractor is not installed.
        """
        if find_spec(self.extractor) is None:
            raise OperatorError(f"{self.type}: {self.extractor} is not installed on this worker; pip install {self.extractor}")
        process = ExtractionProcess(
            self.model_dump(
                mode="json",
                include={
                    "extractor",
                    "favor",
                    "output",
                    "include_tables",
                    "include_comments",
                    "metadata",
                    "timeout_seconds",
                    "max_memory_bytes",
                },
            )
        )

        def extract(batch: pa.RecordBatch) -> Result:
            source = text_of(batch, self.html_column or assets.text_column)
            errors = null_text_errors(source)
            if self.keep_html and batch.schema.get_field_index(HTML) >= 0:
                raise OperatorError(
                    f"{self.type}: keep_html: there is a column {HTML!r} already; rename it in the input, or set html_column"
                )
            answers, failed = self._answers(process, source)
            return self._result(batch, assets.text_column, source, answers, errors | failed)

        return extract

    def _answers(self, process: ExtractionProcess, source: pa.LargeStringArray) -> tuple[list[list[bytes | None]], dict[int, RowError]]:
        """The fields of each page, nulls where there are none, and the errors of those that have none."""
        pages: list[bytes | None] = source.view(pa.large_binary()).to_pylist()
        errors: dict[int, RowError] = {}
        sent: list[int] = []
        for row, page in enumerate(pages):
            if page is not None and len(page) > self.max_html_bytes:
                errors[row] = RowError("html_too_large", f"the page has {len(page)} bytes; max_html_bytes allows {self.max_html_bytes}")
            elif page is not None:
                sent.append(row)
        found: list[Answer] = process.run([page for row in sent if (page := pages[row]) is not None]) if sent else []
        fields: list[list[bytes | None]] = [[None] * (1 + len(self.metadata))] * len(pages)
        for row, answer in zip(sent, found, strict=True):
            if isinstance(answer, RowError):
                errors[row] = answer
            else:
                fields[row] = answer
        return fields, errors

    def _result(
        self,
        batch: pa.RecordBatch,
        text_column: str,
        source: pa.LargeStringArray,
        fields: list[list[bytes | None]],
        errors: dict[int, RowError],
    ) -> Result:
        texts = [(each[0] or b"").strip() for each in fields]
        reasons = [None if text or row in errors else "empty_extraction" for row, text in enumerate(texts)]
        if self.keep_html:
            batch = with_column(batch, HTML, source)
        batch = with_column(batch, text_column, pa.array(texts, pa.large_binary()).view(pa.large_string()))
        for position, name in enumerate(self.metadata, start=1):
            values = pa.array([each[position] for each in fields], pa.binary()).view(pa.string())
            batch = with_column(batch, f"html_{name}", values)
        return Result(batch, pa.array(reasons, pa.string()), errors)
