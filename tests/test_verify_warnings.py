"""`verify` believes no warning without cause, misses none that the tables show, and no impossible count of what was cut out of texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import Output, rewrite_manifest
from manifests import warning

from pipelines.storage import open_store
from pipelines.verify import verify

GUARDS = {"source_column": None, "max_source_share": 0.1, "max_removed_for": 1, "max_key_share": 0.1}
Edit = Callable[[dict[str, Any]], Any]


def warned(*edits: Edit) -> Edit:
    """A manifest whose operator `exact_dedup` has guards, and what they warned of: a folder, a kept document, a key."""

    def edit(manifest: dict[str, Any]) -> None:
        manifest["operators"][1]["settings"] = {"annotate": False, "guards": dict(GUARDS)}
        manifest["warnings"] = [
            warning("exact_dedup", "max_source_share", subject="/raw", found=2 / 13, limit=0.1, documents=2, examples=["id-0-5"]),
            warning("exact_dedup", "max_removed_for", subject="id-0-3", found=2, limit=1, documents=2, examples=[]),
            warning("exact_dedup", "max_key_share", subject="a key", found=3 / 13, limit=0.1, documents=3, examples=["0" * 32]),
        ]
        for one in edits:
            one(manifest)

    return edit


def problems(folder: Path, edit: Edit) -> list[tuple[str, str]]:
    """Checks that fail, with their messages."""
    store = open_store(str(folder))
    Output().write(store)
    rewrite_manifest(store, edit)
    return [(check.name, check.message) for check in verify(str(folder)).checks if not check.ok]


def changed(number: int, **values: Any) -> Edit:
    return lambda manifest: manifest["warnings"][number].update(values)


def guarded(**values: Any) -> Edit:
    return lambda manifest: manifest["operators"][1]["settings"]["guards"].update(values)


def test_warnings_that_the_tables_bear_out_pass(tmp_path: Path) -> None:
    """Each guard that was passed, by the limit of the settings and with the numbers of the tables."""
    assert problems(tmp_path, warned()) == []


def test_a_version_without_warnings_passes(tmp_path: Path) -> None:
    """No guard was passed, or there were none, as in versions of earlier builds."""
    assert problems(tmp_path, lambda manifest: manifest.update(warnings=[])) == []


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda manifest: manifest["warnings"].pop(1), "max_removed_for of operator exact_dedup is missing, but the table of duplicates"),
        (changed(1, documents=3, found=3), "tells of 3 documents at most, but the table of duplicates has 2"),
        (changed(0, documents=1), "/raw is said to have lost 1 documents, but the table of dropped documents has 2"),
        (changed(0, subject="/elsewhere"), "/elsewhere is said to have lost 2 documents, but the table of dropped documents has 0"),
        (changed(2, found=0.1), "found is 0.1, which is not beyond the limit 0.1"),
        (guarded(max_key_share=0.2), "max_key_share of operator exact_dedup: limit is 0.1, but the operator's settings say 0.2"),
        (guarded(max_key_share=None), "the operator's settings say None"),
        (changed(2, documents=99), "it is about 99 documents, but 13 came to the operator"),
        (changed(2, operator="nobody"), "there is no guard max_key_share of operator nobody"),
        (changed(2, guard="max_anything"), "there is no guard max_anything of operator exact_dedup"),
    ],
)
def test_a_warning_without_cause_and_one_that_is_missing_are_found(tmp_path: Path, edit: Edit, words: str) -> None:
    """What guards say is compared with the settings and the tables."""
    ((name, message),) = problems(tmp_path, warned(edit))
    assert name == "warnings"
    assert words in message


def test_what_is_only_marked_stands_in_no_table(tmp_path: Path) -> None:
    """An operator that annotates removed nothing: its warnings are compared with its settings alone."""

    def annotated(manifest: dict[str, Any]) -> None:
        manifest["operators"][3]["settings"] = {"annotate": True, "guards": dict(GUARDS)}
        manifest["warnings"] = [
            warning("tokenize", "max_source_share", subject="/x", found=0.2, limit=0.1, documents=9),
            warning("tokenize", "max_removed_for", found=2, limit=1, documents=2),
        ]

    assert problems(tmp_path, annotated) == []


def test_a_column_may_name_the_sources(tmp_path: Path) -> None:
    """Sources that are no folders stand in no table either."""
    assert problems(tmp_path, warned(guarded(source_column="site"), changed(0, subject="example.org", documents=1))) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"warnings": {}}, "warnings: found '{}', expected a list"),
        ({"warnings": [{"operator": 1}]}, "warnings[0].operator: found '1'"),
        ({"warnings": [warning(found="much")]}, "warnings[0].found: found 'much', expected a number, 0 or more"),
        ({"warnings": [warning(examples=[None])]}, "warnings[0].examples[0]: found 'None', expected a string"),
    ],
)
def test_warnings_of_another_shape_are_told_by_their_place(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    """The manifest's shape is checked there too."""
    assert any(place in message for _, message in problems(tmp_path, lambda manifest: manifest.update(changes)))


@pytest.mark.parametrize(
    ("cut", "is_possible"),
    [
        ({"documents": 2, "passages": 3, "chars": 90}, True),
        ({"documents": 13, "passages": 13, "chars": 13}, True),
        ({"documents": 1, "passages": 3, "chars": 90}, False),  # it dropped 2
        ({"documents": 4, "passages": 3, "chars": 90}, False),
        ({"documents": 2, "passages": 3, "chars": 2}, False),
        ({"documents": 14, "passages": 14, "chars": 14}, False),  # 13 came in
        ({"documents": 2, "passages": 3}, False),
    ],
    ids=str,
)
def test_what_was_cut_out_of_texts_must_be_possible(tmp_path: Path, cut: dict[str, int], is_possible: bool) -> None:
    """Documents that were dropped had been cut, a cut document lost a passage, a passage a character, and none came from nowhere."""
    found = problems(tmp_path, lambda manifest: manifest["operators"][1].update(removed=cut))
    assert (found == []) == is_possible
    assert {name for name, _ in found} <= {"operators", "manifest"}
