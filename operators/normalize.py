"""Repair and normalize text. Owns the order of the steps and their settings; ftfy repairs, kernels find what it could change.

Both ftfy and Unicode's normalization work line by line, and hardly any line needs either: a kernel passes over those that neither could
change, and only the others become Python strings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of, with_column
from operators.combining import normalized

if TYPE_CHECKING:
    from operators.kernels.buffers import Bytes, Offsets

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
Fix = Callable[[str, bool], str]
"""A line, and whether its text had an angle bracket before it, to the line as it should be."""

Step = Callable[["Offsets", "Bytes"], tuple["Offsets", "Bytes"]]

LINE_BREAKS: Final = "\r\x85\u2028\u2029"


class Ftfy(BaseModel):
    """Which of ftfy's repairs are done; names and meanings are those of `ftfy.TextFixerConfig`, defaults those of datatrove."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unescape_html: Literal["auto"] | bool = Field(
        default="auto", description="Replace HTML entities; auto: until the text has an angle bracket."
    )
    remove_terminal_escapes: bool = Field(default=True, description="Remove ANSI escape sequences.")
    fix_encoding: bool = Field(default=True, description="Repair text that was decoded in the wrong encoding.")
    restore_byte_a0: bool = Field(default=True, description="Part of fix_encoding: a space may have been a non-breaking one.")
    replace_lossy_sequences: bool = Field(default=True, description="Part of fix_encoding: replace what was lost by U+FFFD.")
    decode_inconsistent_utf8: bool = Field(default=True, description="Part of fix_encoding: repair parts of a line.")
    fix_c1_controls: bool = Field(default=True, description="Read C1 control characters as Windows-1252.")
    fix_latin_ligatures: bool = Field(default=False, description="Write ligatures such as U+FB01 as letters.")
    fix_character_width: bool = Field(default=False, description="Write half and full width forms in their usual width.")
    uncurl_quotes: bool = Field(default=False, description="Make curly quotation marks straight.")
    fix_line_breaks: bool = Field(default=False, description="Make every line break a line feed.")
    fix_surrogates: bool = Field(default=True, description="Join surrogates (a text column holds none).")
    remove_control_chars: bool = Field(default=True, description="Remove control characters, byte order marks and the like.")


class NormalizeText(BatchOperator):
    """Repair text with ftfy, bring it into a Unicode normalization form, and put its white space in order.

    Nothing is dropped. The steps, in this order: ftfy, line breaks, removal of characters, Unicode form, white space. The result of the
    first is exactly `ftfy.fix_text`'s, that of the Unicode form `unicodedata.normalize`'s; datatrove's FTFYFormatter is this operator with
    `unicode_form: null`.

    Adds, with `keep_signals`, `text_normalized` (true where the text was edited).

    Drop reasons: none.
    """

    type: Literal["normalize_text"] = "normalize_text"
    ftfy: Ftfy | None = Field(default=Ftfy(), description="Repairs of the ftfy library; null: none.")
    unicode_form: Form | None = Field(default="NFC", description="Unicode normalization form (UAX #15); null: leave as it is.")
    line_breaks: Literal["keep", "lf"] = Field(
        default="keep", description="`lf`: CR LF, CR, NEL and the line and paragraph separators become line feeds."
    )
    remove_control_chars: bool = Field(
        default=False, description="Remove C0 and C1 control characters but tab, line feed, form feed, carriage return and NEL."
    )
    remove_invisible: bool = Field(
        default=False,
        description="Remove zero-width spaces (U+200B), word joiners (U+2060), byte order marks (U+FEFF), soft hyphens (U+00AD).",
    )
    collapse_spaces: bool = Field(default=False, description="Make each run of spaces and tabs one space.")
    trim_lines: bool = Field(default=False, description="Remove spaces and tabs at the end of each line.")
    max_newlines: int | None = Field(
        default=None, ge=1, description="Most line feeds in a row, such as 2 in DCLM's and RefinedWeb's recipes; null: any."
    )
    keep_signals: bool = Field(default=False, description="Add `text_normalized`: was the text edited.")

    may_edit_text: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("ftfy",)
    sources: ClassVar[str] = "ftfy 6 with the settings of datatrove 0.10 FTFYFormatter; Unicode UAX #15; DCLM (arXiv:2406.11794)"

    @model_validator(mode="after")
    def _something_is_done(self) -> Self:
        if self.ftfy is None and self.unicode_form is None and not any(self._actions()) and self.max_newlines is None:
            raise ValueError("every step is switched off; leave out the operator, or set at least one")
        return self

    def open(self, assets: Assets) -> BatchFn:
        """Read ftfy's patterns.

        Raises:
            OperatorError: ftfy is not installed.
        """
        from operators.kernels.buffers import text_array, text_buffers
        from operators.kernels.normalize import changed_rows

        steps = self._steps()

        def normalize(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            errors = null_text_errors(text)
            offsets, data = before = text_buffers(text)
            for step in steps:
                offsets, data = step(offsets, data)
            edited = changed_rows(*before, offsets, data)
            edited[list(errors)] = False
            if edited.any():
                batch = with_column(batch, assets.text_column, text_array(offsets, data, text))
            if self.keep_signals:
                absent = np.isin(np.arange(len(text)), list(errors))
                batch = with_column(batch, "text_normalized", pa.array(edited, pa.bool_(), mask=absent))
            return Result(batch, errors=errors)

        return normalize

    def _actions(self) -> tuple[int, int]:
        """What is done to single characters before the Unicode form, and to white space behind it, for `tidy`."""
        from operators.kernels import normalize as kernels

        early = (
            (self.line_breaks == "lf", kernels.BREAKS),
            (self.remove_control_chars, kernels.CONTROLS),
            (self.remove_invisible, kernels.INVISIBLE),
        )
        late = (self.collapse_spaces, kernels.COLLAPSE), (self.trim_lines, kernels.TRIM)
        return sum(action for wanted, action in early if wanted), sum(action for wanted, action in late if wanted)

    def _steps(self) -> list[Step]:
        early, late = self._actions()
        steps: list[Step] = []
        if self.ftfy is not None:
            steps.append(self._repair(self.ftfy, None if early else self.unicode_form))
        if early:
            steps.append(_tidy(early, -1))
        if self.unicode_form is not None and (early or self.ftfy is None):
            steps.append(self._repair(None, self.unicode_form))
        if late or self.max_newlines is not None:
            steps.append(_tidy(late, -1 if self.max_newlines is None else self.max_newlines))
        return steps

    def _repair(self, settings: Ftfy | None, form: Form | None) -> Step:
        """The step that gives suspicious lines to ftfy, if there are settings, and brings them into a Unicode form, if there is one."""
        from operators.kernels import normalize as kernels
        from operators.kernels.normalize_patterns import patterns

        fix, expression, single, entities = (_unfixed, None, "", False) if settings is None else self._ftfy(settings)
        suspicious = patterns(expression, single, form, "&" if entities else "")
        spared = entities and settings is not None and settings.unescape_html == "auto"

        def repair(offsets: Offsets, data: Bytes) -> tuple[Offsets, Bytes]:
            _, begins, ends, angles = kernels.suspicious_lines(offsets, data, suspicious, entities, spared)
            view = data.data
            places, parts = [], []
            for place, (begin, end, angle) in enumerate(zip(begins.tolist(), ends.tolist(), angles.tolist(), strict=True)):
                line = str(view[begin:end], "utf-8", "replace")
                fixed = fix(line, angle != 0)
                fixed = fixed if form is None else normalized(form, fixed)
                if fixed != line:
                    places.append(place)
                    parts.append(fixed.encode("utf-8", "replace"))
            if not parts:
                return offsets, data
            part_offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
            joined = np.frombuffer(b"".join(parts) or b"\0", np.uint8)
            return _readonly(*kernels.splice(offsets, data, begins[places], ends[places], part_offsets, joined))

        return repair

    def _ftfy(self, settings: Ftfy) -> tuple[Fix, str | None, str, bool]:
        """How ftfy fixes a line; the expression, the characters and whether the entities without which it leaves a line alone."""
        try:
            from ftfy import TextFixerConfig, fix_text
            from ftfy.badness import BADNESS_RE
        except ImportError as error:
            raise OperatorError(f"{self.type}: the library ftfy is not installed; pip install ftfy, or set ftfy: null") from error
        config = TextFixerConfig(**settings.model_dump(), normalization=None)
        behind_angle = config._replace(unescape_html=False) if settings.unescape_html == "auto" else config

        def fix(line: str, has_angle: bool) -> str:
            return str(fix_text(line, behind_angle if has_angle else config))

        expression = BADNESS_RE.pattern if settings.fix_encoding else None
        return fix, expression, _single(settings), settings.unescape_html is not False


def _unfixed(line: str, has_angle: bool) -> str:  # noqa: ARG001  the signature of a fix
    return line


def _single(settings: Ftfy) -> str:
    """The characters that ftfy changes wherever they are."""
    from ftfy import chardata

    chosen = (
        (settings.remove_terminal_escapes, "\x1b"),
        (settings.fix_c1_controls, "".join(map(chr, range(0x80, 0xA0)))),
        (settings.fix_latin_ligatures, "".join(map(chr, chardata.LIGATURES))),
        (settings.fix_character_width, "".join(map(chr, chardata.WIDTH_MAP))),
        (settings.uncurl_quotes, "\u02bc\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"),
        (settings.fix_line_breaks, LINE_BREAKS),
        (settings.remove_control_chars, "".join(map(chr, chardata.CONTROL_CHARS))),
    )
    return "".join(chars for wanted, chars in chosen if wanted)


def _tidy(actions: int, max_newlines: int) -> Step:
    """The step that puts white space and invisible characters in order."""
    from operators.kernels.normalize import tidy

    return lambda offsets, data: _readonly(*tidy(offsets, data, actions, max_newlines))


def _readonly(offsets: Offsets, data: Bytes) -> tuple[Offsets, Bytes]:
    """The arrays as kernels take them, so that each is compiled once."""
    offsets.flags.writeable = data.flags.writeable = False
    return offsets, data
