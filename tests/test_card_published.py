"""The card of a published version: read by the official libraries, with and without the data, and safe whatever strangers wrote."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from datasets.exceptions import DataFilesNotFoundError
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData
from huggingface_hub.repocard import metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import NASTY, huge_manifest, learned, make_manifest, nasty_manifest
from markdown_it import MarkdownIt

from operators import BY_TYPE
from operators.catalogue import describe
from pipelines.card_published import published_card
from pipelines.legible import legible
from pipelines.operator_sources import operator_source
from pipelines.verify_card import data_patterns

GLOBS = ["data/v1/**/*-1a2b3c4d.parquet"]
PREVIEW = "preview/v1/part-00000-1a2b3c4d.parquet"
WITH_DATA = {"include_data": True, "preview_path": PREVIEW}
WITHOUT = {"include_data": False, "preview_path": PREVIEW}


def card(manifest=None, **changed):
    how = {"repo_id": "org/quickstart", "globs": GLOBS, "location_uri": "s3://clean/quickstart", **WITH_DATA, **changed}
    return published_card(make_manifest() if manifest is None else manifest, **how)


def tokens_of(text):
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    return [token for block in parser.parse(text.split("---\n", 2)[2]) for token in (block, *(block.children or ()))]


def text_of(text):
    return "".join(
        token.content for token in tokens_of(text) if token.type in ("text", "code_inline", "text_special", "fence", "softbreak")
    )


def configs_of(text):
    data = DatasetCard(text).data
    return dict(MetadataConfigs.from_dataset_card_data(DatasetCardData(**data.to_dict())))


# --- the front matter


def test_the_official_libraries_read_the_front_matter(tmp_path):
    """huggingface_hub and datasets find what YAML holds: configs, licence, languages, size."""
    text = card(make_manifest(licence="ODC-By"))
    (tmp_path / "README.md").write_text(text)
    data = DatasetCard(text).data
    assert metadata_load(tmp_path / "README.md") == data.to_dict() == yaml.safe_load(text.split("---\n", 2)[1])
    assert (data.license, data.language, data.pretty_name) == ("odc-by", ["de"], "quickstart")
    assert (data.size_categories, data.task_categories, data.tags) == (["10K<n<100K"], ["text-generation"], ["shardmill"])
    assert configs_of(text) == {
        "default": {"data_files": [{"split": "train", "path": GLOBS[0]}]},
        "preview": {"data_files": [{"split": "preview", "path": PREVIEW}]},
    }
    assert data_patterns(text) == GLOBS
    assert "viewer" not in data.to_dict()


@pytest.mark.parametrize(
    ("how", "expected", "has_viewer"),
    [
        (WITH_DATA, {"default": ["train"], "preview": ["preview"]}, True),
        (WITHOUT, {"preview": ["preview"]}, True),
        ({"include_data": True, "preview_path": None}, {"default": ["train"]}, True),
        ({"include_data": False, "preview_path": None}, {"preview": []}, False),
    ],
)
def test_configs_are_what_the_repo_holds(how, expected, has_viewer):
    """Each variant names just its splits, and the viewer is off where it would show nothing."""
    found = configs_of(card(**how))
    assert {name: [file["split"] for file in config["data_files"]] for name, config in found.items()} == expected
    assert (DatasetCard(card(**how)).data.to_dict().get("viewer") is False) == (not has_viewer)


def laid_out(folder, text):
    """A copy of a repo: shards, preview, and tables that are no documents."""
    (folder / "README.md").write_text(text)
    shards = {"data/v1/part-00000-1a2b3c4d": ["a", "b"], "data/v1/language=en/part-00001-1a2b3c4d": ["c"]}
    others = {
        PREVIEW.removesuffix(".parquet"): ["b"],
        "shards": ["x"],
        "versions/v1/shards": ["x"],
        "versions/v1/dropped/part-00000": ["x"],
    }
    for path, ids in {**shards, **others, "data/v0/part-00000-00000000": ["old"]}.items():
        file = folder / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ids}), file)


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_reads_shards_and_preview_and_no_table(tmp_path, streaming):
    """Of a repo with data, `default` is the shards and `preview` the preview."""
    laid_out(tmp_path, card())
    cache = {"cache_dir": str(tmp_path / "cache"), "streaming": streaming}
    assert sorted(row["id"] for row in load_dataset(str(tmp_path), split="train", **cache)) == ["a", "b", "c"]
    assert [row["id"] for row in load_dataset(str(tmp_path), "preview", split="preview", **cache)] == ["b"]


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_without_data_reads_the_preview_or_nothing(tmp_path, streaming):
    """Tables are never taken for documents: there is only the split `preview`, or no data at all, which is said."""
    laid_out(tmp_path, card(**WITHOUT))
    cache = {"cache_dir": str(tmp_path / "cache"), "streaming": streaming}
    found = load_dataset(str(tmp_path), **cache)
    assert {split: [row["id"] for row in rows] for split, rows in found.items()} == {"preview": ["b"]}
    (tmp_path / "README.md").write_text(card(include_data=False, preview_path=None))
    with pytest.raises(DataFilesNotFoundError):
        load_dataset(str(tmp_path), **cache)


@pytest.mark.parametrize(
    ("by_language", "expected"),
    [
        ({"en": 980, "de": 15, "fr": 5}, ["de", "en"]),
        ({"eng_Latn": 500, "deu_Latn": 500, "und_Latn": 500, "(other)": 500}, ["deu", "eng"]),
        ({"English": 5}, None),
        ({}, ["en"]),
        (None, ["en"]),
    ],
)
def test_languages_are_those_that_were_counted(by_language, expected):
    """Languages of more than one percent of the documents; where none are counted, those of the filter."""
    manifest = make_manifest()
    manifest["tokens"] = manifest["documents"] = None
    if by_language is not None:
        told = {name: {"documents": number, "text_bytes": number} for name, number in by_language.items()}
        lengths = [{"from_bytes": 1, "below_bytes": 2, "documents": 2000, "text_bytes": 2000}]
        manifest["documents"] = {
            "text_column": "text",
            "language_column": "language",
            "text_bytes": 2000,
            "null_texts": 0,
            "lengths": lengths,
            "by_language": told,
        }
    assert DatasetCard(card(manifest)).data.language == expected


# --- the text


def test_how_to_load_it_with_the_data():
    """Both ways of load_dataset, pinned to the version, and the addresses are of this repo."""
    text = card()
    (python,) = [token.content for token in tokens_of(text) if token.type == "fence" and token.info == "python"]
    compile(python, "README.md", "exec")
    assert python.count('load_dataset("org/quickstart", split="train", revision="v1"') == 2
    assert "streaming=True" in python
    assert 'load_dataset("org/quickstart", "preview", split="preview")' in text_of(text)
    assert "not in this repo" not in text


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("s3://clean/quickstart", "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"),
        ("/data/out", "That is a path on the machine that published it"),
        ("file:///data/out", "That is a path on the machine that published it"),
    ],
)
def test_how_to_load_it_from_where_the_data_are(location, told):
    """The place of the documents, what one needs to read it, and one call of open_dataset."""
    text = card(**WITHOUT, location_uri=location)
    (python,) = [token.content for token in tokens_of(text) if token.type == "fence" and token.info == "python"]
    compile(python, "README.md", "exec")
    assert 'open_dataset("hf://datasets/org/quickstart@v1")' in python
    assert "The documents are not in this repo." in text_of(text)
    assert location in text_of(text)
    assert told in text
    assert "load_dataset" not in python


def test_secrets_of_a_location_are_not_shown():
    """A password or a signature in the address of the output does not get into the card."""
    text = card(**WITHOUT, location_uri="s3://key:s3cr3tvalue@clean/out?X-Amz-Signature=abcdefgh")
    assert "s3cr3tvalue" not in text
    assert "abcdefgh" not in text


def test_how_to_check_it_and_what_is_where():
    """The command for this version; tables of dropped documents are named where they are, with texts they are not published."""
    manifest = make_manifest()
    assert "shardmill verify hf://datasets/org/quickstart@v1\n" in card(manifest)
    assert "they are in `s3://clean/quickstart` too" in card(manifest, **WITHOUT)
    assert "is not published" not in card(manifest)
    manifest["config"]["output"]["dropped"] = True
    assert "the first, which has the texts of dropped documents, is not published" in card(manifest)


def test_versions_are_listed_newest_first():
    """A line a version, the parents, and the command that says what changed; many versions are bounded."""
    older = [make_manifest(version=f"v{number}") for number in range(1, 31)]
    manifest = make_manifest(version="v31", parents=["ab" * 32])
    text = card(manifest, older=older)
    assert re.findall(r"\| `(v[0-9]+)` \|", text) == [f"v{number}" for number in range(31, 11, -1)]
    assert "| 11 older | | | |" in text
    assert "ab" * 32 in text
    assert "shardmill diff hf://datasets/org/quickstart@v30 hf://datasets/org/quickstart@v31" in text
    assert "shardmill diff" not in card()


def test_documents_taken_out_are_told_by_number_alone():
    """How many were taken out, whatever the operator's name, and how to ask."""
    settings = {"documents": 3, "ids_sha256": "e" * 64, "reason": "the author asked"}
    steps = (("takedown", "takedown", settings, {"taken_down": 2}, 0), ("takedown-2", "takedown", settings, {"taken_down": 1}, 0))
    text = text_of(card(make_manifest(steps)))
    assert "3 documents were taken out of this version." in text
    assert text.count("Leave out the documents that were taken out of this dataset.") == 2
    assert "Have a document taken out" in text
    assert "taken out of this version" not in text_of(card())


@pytest.mark.parametrize("kind", BY_TYPE)
def test_every_operator_stands_with_its_source(kind):
    """What an operator does and whom its rules come from is Markdown that stays text; a preset brings its own source."""
    presets = [*describe(kind).presets, *describe(kind).curves]
    for preset in [None, *presets]:
        line = operator_source({"type": kind, "settings": {} if preset is None else {"preset": preset}})
        assert line is not None
        assert "\n" not in line
        assert describe(kind).promise in line
        assert describe(kind).sources in line
        assert preset is None or f"Preset `{preset}`: " in line
        text = card(make_manifest(((kind, kind, {} if preset is None else {"preset": preset}, {}, 0),)))
        assert line.replace("`", "") in text_of(text)
        assert not {token.type for token in tokens_of(text)} & {"html_block", "html_inline", "image", "link_open"}
    assert operator_source({"type": "my_module:Op", "settings": {}}) is None


def test_files_that_come_with_it_are_named():
    """Token shards and what operators learned stand with their paths."""
    manifest = make_manifest(learned=[learned("ours", "versions/v1/learned/ours/tokenizer.json")])
    manifest["output"]["token_shards"] = {"formats": ["megatron"], "seed": 7, "documents": 5, "tokens": 90}
    text = text_of(card(manifest))
    assert "tokens/v1/megatron" in text
    assert "These folders are in" not in text
    assert "These folders are in `s3://clean/quickstart` too." in card(manifest, **WITHOUT)
    assert "versions/v1/learned/ours/tokenizer.json: learned by ours" in text


# --- strangers


@given(st.text(st.characters(), max_size=40))
@settings(deadline=None, max_examples=50)
def test_any_name_leaves_the_front_matter_readable(text):
    """Whatever a pipeline, its licence and languages are called, the official libraries read the card."""
    manifest = make_manifest(name=text, licence=text)
    manifest["documents"]["by_language"] = {text: {"documents": 1, "text_bytes": 1}}
    data = DatasetCard(card(manifest)).data
    assert data.pretty_name == legible(text, 500)
    assert set(configs_of(card(manifest))) == {"default", "preview"}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("how", [WITH_DATA, WITHOUT], ids=["with", "without"])
def test_the_text_shows_strangers_words_and_obeys_none_of_them(name, how):
    """Markup in names, reasons, settings, paths and versions' dates is shown, never rendered."""
    text = NASTY[name]
    manifest = make_manifest(((text, text, {"setting": text}, {text: 3}, 0),), name=text, licence=text, errors={text: 12}, created_at=text)
    manifest["input"]["uri"] = text
    manifest["documents"] |= {"text_column": text, "language_column": text, "by_language": {text: {"documents": 1, "text_bytes": 1}}}
    found = card(manifest, **how, location_uri=text, older=[manifest])
    tokens = tokens_of(found)
    assert {token.content for token in tokens if token.type.startswith("html")} <= {"<code>", "</code>"}
    assert not {token.type for token in tokens} & {"link_open", "image", "html_block"}
    assert all(line.isprintable() for line in found.split("\n"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    assert headings[1:] == [
        "Load it",
        "What went in",
        "What became of it",
        "Operators",
        "Tokens",
        "Lengths and languages",
        "Columns",
        "Check it",
        "Versions",
        "Have a document taken out",
    ]


@pytest.mark.parametrize("manifest", [make_manifest(()), make_manifest((), rows_in=0, unread=0), nasty_manifest(), huge_manifest()])
def test_a_card_is_bounded_and_always_the_same(manifest):
    """The same manifests give the same card, of a bounded size."""
    text = card(manifest, older=[manifest] * 500)
    assert text == card(copy.deepcopy(manifest), older=[manifest] * 500)
    assert len(text) < 500_000
    assert json.loads(json.dumps(DatasetCard(text).data.to_dict()))["configs"]
