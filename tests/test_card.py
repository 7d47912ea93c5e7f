"""The card: front matter that YAML and `datasets` read, and a text that shows what strangers wrote as they wrote it."""

from __future__ import annotations

import copy
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from manifests import NASTY, huge_manifest, learned, make_manifest, nasty_manifest, warning
from markdown_it import MarkdownIt

from pipelines.card import card, data_glob
from pipelines.legible import legible


def front_matter(text):
    start, head, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


def tokens_of(text):
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    body = text.split("---\n", 2)[2]
    return [token for block in parser.parse(body) for token in (block, *(block.children or ()))]


def test_load_dataset_reads_just_the_shards_of_the_version_in_whatever_folders(tmp_path):
    manifest = make_manifest(version="v2", run_id="1a2b3c4d5e6f7081")
    (tmp_path / "README.md").write_text(card(manifest, [data_glob("v2", "1a2b3c4d5e6f7081")]))
    wanted = ["data/v2/part-00000", "data/v2/1/part-05000", "data/v2/language=en/part-00001", "data/v2/1/language=de/part-05001"]
    decoys = [
        "data/v1/part-00000-1a2b3c4d",
        "data/v2/part-00000-ffffffff",
        "_shardmill/x-1a2b3c4d",
        "versions/v2/dropped/part-00000-1a2b3c4d",
    ]
    for position, path in enumerate([*(f"{path}-1a2b3c4d" for path in wanted), *decoys]):
        file = tmp_path / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [position, position + 100]}), file)
    loaded = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["id"]) == sorted(position + more for position in range(len(wanted)) for more in (0, 100))


def test_several_versions_have_a_pattern_each():
    globs = ["data/v1/**/*-11111111.parquet", "data/v2/**/*-22222222.parquet"]
    assert front_matter(card(make_manifest(), globs))["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": globs}]}
    ]


def test_without_patterns_the_version_is_made_by_its_own_plan():
    (config,) = front_matter(card(make_manifest()))["configs"]
    assert config["data_files"] == [{"split": "train", "path": "data/v1/**/*-1a2b3c4d.parquet"}]


@pytest.mark.parametrize(
    ("rows", "category"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**12, "n>1T"), (10**15, "n>1T")]
)
def test_the_size_category_is_the_hubs_for_that_many_rows(rows, category):
    manifest = make_manifest()
    manifest["output"]["rows"] = rows
    assert front_matter(card(manifest))["size_categories"] == [category]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (None, {}),
        ("ODC-By", {"license": "odc-by"}),
        ("My Own Licence, 2026", {"license": "other", "license_name": "my-own-licence-2026"}),
        ("…", {"license": "other", "license_name": "other"}),
    ],
)
def test_a_licence_that_the_hub_does_not_know_keeps_its_name(licence, expected):
    found = front_matter(card(make_manifest(licence=licence)))
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected


def test_languages_are_those_of_the_language_filter_where_they_are_the_hubs_codes():
    def languages(*wanted):
        return front_matter(card(make_manifest((("l", "language_filter", {"languages": list(wanted)}, {}, 0),)))).get("language")

    assert languages("no", "de") == ["de", "no"]  # `no` is a language, not false
    assert languages("eng_Latn") is None
    assert front_matter(card(make_manifest((("l", "language_filter", {"languages": None}, {}, 0),)))).get("language") is None


@given(st.text(st.characters(), max_size=40))
def test_any_name_leaves_the_front_matter_readable(text):
    found = front_matter(card(make_manifest(name=text, licence=text)))
    assert found["pretty_name"] == legible(text, 500)
    assert found["configs"][0]["config_name"] == "default"


@pytest.mark.parametrize("name", NASTY)
def test_the_text_shows_strangers_words_and_obeys_none_of_them(name):
    text = NASTY[name]
    steps = ((text, text, {"setting": text}, {text: 3}, 0),)
    manifest = make_manifest(steps, name=text, licence=text, errors={text: 12}, schema=[{"name": text, "type": text, "nullable": True}])
    manifest["input"]["uri"] = text
    manifest["tokens"] |= {"source_column": text, "by_source": {text: {"documents": 1, "tokens": 2}}}
    manifest["documents"] |= {"language_column": text, "by_language": {text: {"documents": 1, "text_bytes": 2}}}
    found = card(manifest)
    assert all(line.isprintable() for line in found.split("\n"))
    tokens = tokens_of(found)
    assert {token.content for token in tokens if token.type.startswith("html")} <= {"<code>", "</code>"}
    assert not {token.type for token in tokens} & {"link_open", "image", "html_block", "em_open"}
    assert [token.content for token in tokens if token.type == "heading_open"] == [""] * 9
    assert {len(row) for row in tables(tokens)} == {2, 4, 5, 7}
    assert tokens_text(tokens).count(legible(text) or "(empty)") >= 8


def tables(tokens):
    rows, row = [], None
    for token in tokens:
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            rows.append(row)
            row = None
        elif row is not None and token.type == "inline":
            row.append(token.content)
    return rows


def tokens_text(tokens):
    return "".join(token.content for token in tokens if token.type in ("text", "code_inline", "text_special", "fence"))


def test_every_operator_stands_with_all_of_its_settings():
    settings = {"languages": ["en"], "nested": {"a": [1, 2.5, None, True]}, "text": "ü\n```\n"}
    text = card(make_manifest((("mine", "my_module:Op", settings, {}, 0), ("plain", "plain", {}, {}, 0))))
    blocks = [token.content for token in tokens_of(text) if token.type == "fence" and token.info == "json"]
    assert [json.loads(block) for block in blocks] == [settings]
    assert "(no settings)" in text


def test_what_was_cut_out_of_texts_and_what_guards_warned_of_is_said():
    manifest = make_manifest((("line_dedup", "line_dedup", {}, {}, 0),), warnings=[warning(subject="*dump*")])
    manifest["operators"][0]["removed"] = {"chars": 500, "documents": 3, "passages": 20}
    text = tokens_text(tokens_of(card(manifest)))
    assert "line_dedup cut 20 passages (500 characters) out of 3 documents." in text
    assert "minhash_dedup: *dump* lost 9,700 documents" in text
    assert "cut" not in card(make_manifest())


def test_what_operators_learned_is_named_with_how_many_documents_it_was_learned_from():
    text = card(
        make_manifest(learned=[learned("ours", "versions/v1/learned/ours/tokenizer.json"), learned("b", "versions/v1/learned/b/x", 1)])
    )
    assert "\n- `versions/v1/learned/ours/tokenizer.json`: learned by `ours` from 1,234 documents.\n" in text
    assert "\n- `versions/v1/learned/b/x`: learned by `b` from 1 document.\n" in text
    assert "learned" not in card(make_manifest())


def test_numbers_that_do_not_add_up_are_said_aloud():
    manifest = make_manifest()
    assert "do not add up" not in card(manifest)
    manifest["ledger"]["rows_in"] += 1
    assert "do not add up" in card(manifest)


@pytest.mark.parametrize("manifest", [make_manifest(()), make_manifest((), rows_in=0, unread=0), nasty_manifest(), huge_manifest()])
def test_a_card_is_bounded_and_always_the_same(manifest):
    text = card(manifest)
    assert text == card(copy.deepcopy(manifest))
    assert len(text) < 500_000
    assert front_matter(text)["configs"]
