"""Take personal data out of text. Owns what is looked for and what takes its place; the search itself is operators/kernels/pii.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from operators.base import Assets, BatchFn, BatchOperator, OperatorError, Result, null_text_errors, text_of, with_column

if TYPE_CHECKING:
    from operators.kernels.pii import Found

Kind = Literal["email", "ip", "phone", "iban", "credit_card", "ssn", "secret"]
Preset = Literal["standard", "fineweb"]
Mode = Literal["replace", "mask", "tag"]

ALL_KINDS: Final[tuple[Kind, ...]] = ("email", "ip", "phone", "iban", "credit_card", "ssn", "secret")
PRESET_KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {"standard": ALL_KINDS, "fineweb": ("email", "ip")}

MOST_ROUNDS: Final = 8
"""A replacement may put a number beside another one and so make a new match, hardly ever more than once."""

IPV6_DECOYS: Final = ("2001:db8::1", "2001:db8:85a3::8a2e:370:7334", "2001:db8:1f0:22::5", "2001:db8:cafe::17")
STANDARD_DECOYS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "email": ("email@example.com", "firstname.lastname@example.org"),
    "ip": ("192.0.2.1", "192.0.2.77", "198.51.100.23", "198.51.100.140", "203.0.113.9", "203.0.113.200", *IPV6_DECOYS),
    "phone": ("202-555-0100", "202-555-0123", "202-555-0156", "202-555-0199"),
    "iban": ("DE00000000000000000000",),
    "credit_card": ("4000000000000000",),
    "ssn": ("000-00-0000",),
    "secret": ("REDACTED_SECRET",),
}
FINEWEB_IPV4_DECOYS: Final = ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")
PRESET_DECOYS: Final[Mapping[str, Mapping[Kind, tuple[str, ...]]]] = {
    "standard": STANDARD_DECOYS,
    "fineweb": {**STANDARD_DECOYS, "ip": (*FINEWEB_IPV4_DECOYS, *IPV6_DECOYS)},
}


class PiiRedact(BatchOperator):
    """Take email addresses, public IP addresses, phone, account and card numbers, and secrets out of the text.

    Nothing is dropped. What takes the place of a match depends on the match alone (a hash of it chooses), so the same address becomes the
    same replacement in every document, and redacting what was redacted changes nothing. A text without a match is not touched.

    The kinds:
    `email` `name@domain` with a domain of letters at the end; not `git@`, not a file such as `logo@2x.png`.
    `ip` IPv4 and IPv6 that IANA calls globally reachable (IPv6: in 2000::/3 and at least three groups written); not private or
    documentation ranges, not version and section numbers.
    `phone` with "+" and a country code (at least nine digits), the North American 3-3-4 with brackets, hyphens or dots, and anything of
    seven to fifteen digits behind a word such as "Tel.".
    `iban` by country and length, in one or in groups of four; the remainder must be right where letters occur, and everywhere with
    `iban_check_digits`.
    `credit_card` by the issuer's prefix and length, with the right check digit and usual grouping.
    `ssn` US social security numbers, 3-2-4 with hyphens.
    `secret` keys and tokens of AWS, GitHub, Slack, OpenAI, Google, Stripe and Hugging Face, JSON web tokens, private keys in PEM.

    Adds, with `keep_signals` or `annotate`, `pii_counts` (a struct of one int32 a kind: matches in this document); with `annotate` also
    `pii_spans` (a list of kind, start and end, counted in code points), and then leaves the text as it is.

    Drop reasons: none.
    """

    type: Literal["pii_redact"] = "pii_redact"
    preset: Preset = Field(
        default="standard",
        description="Kinds and replacements: `standard` looks for all kinds and writes reserved values (RFC 2606, 5737, 3849; 555-01xx); "
        "`fineweb` for `email` and `ip` and writes FineWeb's decoys.",
    )
    kinds: list[Kind] | None = Field(default=None, min_length=1, description="Kinds to look for; null: those of the preset.")
    mode: Mode = Field(
        default="replace",
        description="What takes the place of a match: a replacement (`replace`), asterisks (`mask`) or `<EMAIL>` and the like (`tag`).",
    )
    replacements: dict[Kind, list[str]] | None = Field(
        default=None,
        description="Replacements by kind, in place of the preset's; of those for `ip` the ones with a colon are for IPv6.",
    )
    iban_check_digits: bool = Field(
        default=False,
        description="Take only IBANs whose check digits are right (ISO 7064, remainder 1); false: also misspelt ones of digits alone.",
    )
    keep_signals: bool = Field(default=False, description="Add `pii_counts`: how many matches of each kind the document had.")
    annotate: bool = Field(default=False, description="Leave the text as it is and add `pii_counts` and `pii_spans`.")

    may_edit_text: ClassVar[bool] = True
    by_kind: ClassVar[tuple[str, ...]] = ("replacements",)
    sources: ClassVar[str] = (
        "decoys and preset: FineWeb (arXiv:2406.17557), datatrove 0.10 PIIFormatter; IANA special-purpose address registries; "
        "SWIFT IBAN registry; ISO/IEC 7812; ITU-T E.164; RFC 2606, 5737 and 3849"
    )

    @model_validator(mode="after")
    def _replacements_are_used(self) -> Self:
        for kind, strings in (self.replacements or {}).items():
            if not strings:
                raise ValueError(f"replacements.{kind} is empty; give at least one string, or use mode: mask")
            if kind not in self._kinds():
                raise ValueError(f"replacements.{kind} is of a kind that is not looked for; kinds are: {', '.join(self._kinds())}")
            if self.mode != "replace":
                raise ValueError(f"replacements are for mode: replace; mode is {self.mode}")
        return self

    def open(self, assets: Assets) -> BatchFn:
        """Return the function that searches and replaces; nothing is loaded.

        Raises:
            OperatorError: A replacement is itself personal data, so that redacting again would change it.
        """
        from operators.kernels import pii
        from operators.kernels.buffers import text_array, text_buffers

        targets = pii.targets(self._strings(), check_ibans=self.iban_check_digits)
        for strings in self._strings().values():
            for string in strings:
                if len(pii.find(*pii.texts([string.encode()]), np.ones(1, np.uint8), targets)[1]):
                    raise OperatorError(f"{self.type}: replacement {string!r} holds personal data itself; give one that stays as it is")

        def redact(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            errors = null_text_errors(text)
            offsets, data = text_buffers(text)
            chosen = np.ones(len(text), np.uint8)
            chosen[list(errors)] = 0
            found = pii.Found(*pii.find(offsets, data, chosen, targets))
            if self.annotate:
                return Result(_with_spans(batch, found, pii.in_characters(offsets, data, found), text), errors=errors)
            counts = _counts(found)
            edited = len(found.begins) > 0
            for _ in range(MOST_ROUNDS):
                if not len(found.begins):
                    break
                offsets, data = pii.replace(offsets, data, found, targets)
                offsets.flags.writeable = data.flags.writeable = False
                found = pii.Found(*pii.find(offsets, data, (np.diff(found.rows) > 0).astype(np.uint8), targets))
            if edited:
                batch = with_column(batch, assets.text_column, text_array(offsets, data, text))
            return Result(_with_counts(batch, counts, text) if self.keep_signals else batch, errors=errors)

        return redact

    def _kinds(self) -> tuple[Kind, ...]:
        return PRESET_KINDS[self.preset] if self.kinds is None else tuple(self.kinds)

    def _strings(self) -> dict[str, tuple[str, ...]]:
        """By kind of the kernel what takes the place of a match; none where it is masked."""
        found: dict[str, tuple[str, ...]] = {}
        chosen = {**PRESET_DECOYS[self.preset], **{kind: tuple(strings) for kind, strings in (self.replacements or {}).items()}}
        for kind in self._kinds():
            strings = {"replace": chosen[kind], "mask": (), "tag": (f"<{kind.upper()}>",)}[self.mode]
            if kind == "ip":
                found["ipv4"] = tuple(string for string in strings if ":" not in string) or strings
                found["ipv6"] = tuple(string for string in strings if ":" in string) or strings
            else:
                found[kind] = strings
        return found


def _columns() -> npt.NDArray[np.int64]:
    """By kind of the kernel its place in `ALL_KINDS`."""
    from operators.kernels.pii import KINDS

    return np.array([ALL_KINDS.index("ip" if kind in ("ipv4", "ipv6") else kind) for kind in KINDS], np.int64)


def _counts(found: Found) -> npt.NDArray[np.int32]:
    """Matches by row and kind of `ALL_KINDS`."""
    num_rows = len(found.rows) - 1
    places = np.repeat(np.arange(num_rows), np.diff(found.rows)) * len(ALL_KINDS) + _columns()[found.kinds]
    return np.bincount(places, minlength=num_rows * len(ALL_KINDS)).astype(np.int32).reshape(num_rows, len(ALL_KINDS))


def _with_counts(batch: pa.RecordBatch, counts: npt.NDArray[np.int32], text: pa.LargeStringArray) -> pa.RecordBatch:
    """The batch with `pii_counts`, null where the text is."""
    columns = [pa.array(np.ascontiguousarray(counts[:, i])) for i in range(len(ALL_KINDS))]
    mask = text.is_null() if text.null_count else None
    return with_column(batch, "pii_counts", pa.StructArray.from_arrays(columns, names=list(ALL_KINDS), mask=mask))


def _with_spans(
    batch: pa.RecordBatch, found: Found, places: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]], text: pa.LargeStringArray
) -> pa.RecordBatch:
    """The batch with `pii_counts` and `pii_spans`, null where the text is."""
    batch = _with_counts(batch, _counts(found), text)
    kinds = pa.array([ALL_KINDS[column] for column in _columns()[found.kinds]], pa.string())
    spans = pa.StructArray.from_arrays([kinds, pa.array(places[0]), pa.array(places[1])], names=["kind", "start", "end"])
    offsets = pa.array(found.rows.astype(np.int32))
    mask = text.is_null() if text.null_count else None
    return with_column(batch, "pii_spans", pa.ListArray.from_arrays(offsets, spans, mask=mask))
