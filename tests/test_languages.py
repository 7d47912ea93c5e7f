"""Languages in any style, thresholds by language, and labels with the script of the document."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
import yaml
from operator_samples import ASSETS, PROSE, SHARED, FakeAssets, asset, real_documents, small_fasttext  # noqa: F401 -- a fixture
from pydantic import ValidationError

from operators.base import OperatorError
from operators.fineweb import FineWebQuality
from operators.gopher import GopherQuality, GopherRepetition
from operators.language import LanguageFilter
from operators.language_scores import Labels, least_scores, score_table
from operators.languages import individual, iso639_3, script_of

GERMAN = "Die Menschen in der Stadt waren auf dem Markt und haben Brot mitgebracht. "
SERBIAN = "Сви људи рађају се слободни и једнаки у достојанству и правима, и ћирилицом пишу. "
LATIN_SERBIAN = "Beograd je glavni grad Srbije, u kome živi više od milion ljudi. Gde ste bili? Ovde je lepo vreme, a posle će biti hladno."
CHINESE = "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."


@dataclass(frozen=True)
class Tables(FakeAssets):
    """A worker that has parsed the YAML files of an archive, or was given them."""

    rows: dict[str, Any] = field(default_factory=dict)

    def tables(self, uri: str) -> dict[str, Any]:
        return read_archive(uri) if uri.endswith(".tar.gz") else self.rows


@cache
def read_archive(uri: str) -> dict[str, Any]:
    """The YAML files of an archive, parsed."""
    with tarfile.open(uri) as archive:
        files = [member for member in archive if member.name.endswith(".yml")]
        read = {member.name.rpartition("/")[2].removesuffix(".yml"): archive.extractfile(member) for member in files}
        return {name: yaml.load(file, yaml.CSafeLoader) for name, file in sorted(read.items())}


def run(settings, *texts, assets=ASSETS):
    """Language, score and reason of each text."""
    result = LanguageFilter(**settings).open(assets)(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    reasons = [None] * len(texts) if result.reasons is None else result.reasons.to_pylist()
    return list(zip(*(result.batch.column(name).to_pylist() for name in ("language", "language_score")), reasons, strict=True))


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (["en", "eng", "eng_Latn", "EN", "en-GB"], "eng"),
        (["zh", "zho", "cmn", "cmn_Hani", "zho_Hans"], "cmn"),
        (["ar", "ara", "arb", "arb_Arab"], "arb"),
        (["sr", "srp", "srp_Cyrl"], "srp"),
        (["no", "nb", "nob_Latn"], "nob"),
        (["nn"], "nno"),
        (["sq", "als_Latn"], "als"),
        (["fa", "fas_Arab"], "fas"),
        (["arz"], "arz"),
    ],
)
def test_styles_of_one_language_are_one(labels, code):
    """ISO 639-1, ISO 639-3, a macrolanguage's code and GlotLID's label name the same language."""
    assert {individual(label) for label in labels} == {code}


def test_unknown_codes_stay_as_they_are():
    """Two letters that are no code of ISO 639-1 have none of 639-3."""
    assert iso639_3("xx") is None
    assert individual("xx") == "xx"
    assert individual("als", of_wikipedia=True) == "gsw"
    assert [script_of(label) for label in ("eng_Latn", "en", "en-GB", "zho_Hans", "eng_latn")] == ["Latn", None, None, "Hani", "Latn"]


def test_labels_name_language_and_script():
    """`labels: glotlid` writes the individual language and the script of the document's own letters; without letters there is none."""
    found = run({"labels": "glotlid"}, PROSE, GERMAN, SERBIAN, LATIN_SERBIAN, CHINESE, JAPANESE, KOREAN)
    assert [language for language, _, _ in found] == [
        *("eng_Latn", "deu_Latn", "srp_Cyrl", "srp_Latn", "cmn_Hani", "jpn_Jpan", "kor_Hang"),
    ]
    assert run({"labels": "glotlid"}, "12345")[0][0].endswith("_Zyyy")


def test_labels_of_a_model_with_scripts_are_kept():
    """A model that labels as GlotLID does says itself what the script is."""
    labels = Labels(["eng_Latn", "srp_Cyrl"], by_script=True)
    assert labels.num_kinds == 1
    assert labels.names() == ["eng_Latn", "srp_Cyrl"]


@pytest.mark.parametrize("languages", [["de"], ["deu"], ["deu_Latn"], ["fr", "deu"]], ids=str)
@pytest.mark.parametrize("labels", ["model", "glotlid"])
def test_languages_may_be_given_in_any_style(languages, labels):
    """`de`, `deu` and `deu_Latn` keep the same documents, whatever is written for them."""
    reasons = [reason for _, _, reason in run({"languages": languages, "labels": labels}, PROSE, GERMAN)]
    assert reasons == ["language", None]


def test_a_language_without_a_script_is_all_of_them():
    """`sr` keeps both ways to write Serbian, `srp_Cyrl` one of them, if scripts are looked at."""
    both = (SERBIAN, LATIN_SERBIAN)

    def kept(language, labels):
        return [reason is None for _, _, reason in run({"languages": [language], "labels": labels, "min_score": 0.1}, *both)]

    assert kept("sr", "glotlid") == kept("srp", "model") == [True, True]
    assert kept("srp_Cyrl", "glotlid") == [True, False]
    assert kept("srp_Latn", "glotlid") == [False, True]


@pytest.mark.parametrize("labels", ["model", "glotlid"])
@pytest.mark.parametrize("setting", [{"languages": ["en", "qqq"]}, {"min_scores": {"qqq": 0.5}}, {"min_scores": {"english": 0.5}}], ids=str)
def test_unknown_languages_are_named(setting, labels):
    """A language that the model does not know is an error that says what it does know, wherever it is named."""
    with pytest.raises(
        OperatorError, match=r"language_filter: py3langid's model knows no language '(qqq|english)'; (did you mean|it knows)"
    ):
        LanguageFilter(labels=labels, **setting).open(ASSETS)


@pytest.mark.parametrize("labels", ["model", "glotlid"])
def test_a_score_of_a_language_that_is_not_requested_is_an_error(labels):
    """It would never be looked at; a language in another style, or in one of its scripts, is requested."""
    for languages, scored in ((["de", "sr"], "deu"), (["deu_Latn"], "de"), (["sr"], "srp_Cyrl"), (None, "en")):
        LanguageFilter(labels=labels, languages=languages, min_scores={scored: 0.5}).open(ASSETS)
    with pytest.raises(OperatorError, match=r"min_scores has 'en', which `languages` does not request \(de, sr\)"):
        LanguageFilter(labels=labels, languages=["de", "sr"], min_scores={"en": 0.5}).open(ASSETS)


@pytest.mark.parametrize("score", [-0.1, 1.1, 65, float("nan"), float("inf")])
def test_scores_are_from_0_to_1(score):
    """A percentage is refused, and what is no number."""
    with pytest.raises(ValidationError, match="min_scores"):
        LanguageFilter(min_scores={"en": score})


def test_the_score_of_a_language_of_its_own():
    """`min_scores` counts for its languages and `min_score` for the others; columns and other documents are as before."""
    (_, english, _), (_, german, _) = run({}, "the market", GERMAN)
    assert 0.05 < english < 0.65 < german
    assert [reason for _, _, reason in run({"min_scores": {"eng": 0.05}}, "the market", GERMAN)] == [None, None]
    assert [reason for _, _, reason in run({"min_scores": {"deu_Latn": german}}, "the market", GERMAN)] == ["language_score"] * 2
    settings = {"min_scores": {"de": 0.05}, "languages": ["de"]}
    assert [reason for _, _, reason in run(settings, "the market", GERMAN)] == ["language", None]


def test_annotate_drops_nothing():
    """With `annotate` the columns are added, and every document stays."""
    found = run({"languages": ["de"], "annotate": True}, PROSE, GERMAN, "12345")
    assert [reason for _, _, reason in found] == [None] * 3
    assert [language for language, _, _ in found[:2]] == ["en", "de"]


@pytest.mark.parametrize("form", ["json", "csv", "headed.csv", "folder", "tar.gz"])
@pytest.mark.parametrize("style", ["de", "deu", "deu_Latn"])
@pytest.mark.parametrize("labels", ["model", "glotlid"])
def test_tables_in_every_form(form, style, labels, tmp_path):
    """JSON, CSV with or without a header, and YAML files: a listed language needs its score, another one `min_score`."""
    rows, path = {style: 1.0, "fr": 0.2}, tmp_path / f"table.{form}"
    if form == "json":
        path.write_text(json.dumps(rows))
    elif form.endswith("csv"):
        lines = ["language,score"] * form.startswith("headed") + [f"{name}, {score}" for name, score in rows.items()]
        path.write_text("\n".join(lines) + "\n\n")
    elif form == "tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            for name, score in rows.items():
                file = tmp_path / f"{name}.yml"
                file.write_text(f"language_score: {score}\nstopwords: [a]\n")
                archive.add(file, f"configs/{file.name}")
    assets = Tables(rows={name: {"language_score": score} for name, score in rows.items()} | {"swe_Latn": {"other": 1}})
    found = run({"thresholds": str(path), "labels": labels}, PROSE, GERMAN, assets=assets)
    assert [reason for _, _, reason in found] == [None, "language_score"]
    settings = {"thresholds": str(path), "labels": labels, "min_scores": {"deu": 0.3}}
    assert [reason for _, _, reason in run(settings, PROSE, GERMAN, assets=assets)] == [None, None]


def test_a_script_s_own_score_wins_over_its_language_s():
    """In one table `srp_Cyrl` counts for Cyrillic documents whatever `srp` says; languages the model lacks are no error."""
    labels = Labels(["sr", "en"], by_script=True)
    least = least_scores(labels, 0.65, [{"srp": 0.1, "srp_Cyrl": 0.9, "qqq_Latn": 0.3}])
    by_name = dict(zip(labels.names(), least.ravel(), strict=True))
    assert (by_name["srp_Cyrl"], by_name["srp_Latn"], by_name["eng_Latn"]) == (0.9, 0.1, 0.65)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", "[1, 2]"),
        ("t.json", "{"),
        ("t.json", '{"de": "high"}'),
        ("t.json", '{"de": 65}'),
        ("t.json", "{}"),
        ("t.csv", "de\n"),
        ("t.csv", "de,0.5\nfr,NaN\n"),
        ("t.csv", ""),
        ("t.csv", "de,0.5\nfr,much\n"),
        ("t.json", b"\xff\xfe{"),
        ("absent.json", None),
        ("folder", None),
    ],
    ids=str,
)
def test_tables_that_cannot_be_used(name, content, tmp_path):
    """A table of something else, or of nothing, is an error that names it and what was expected."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OperatorError, match=rf"language_filter: thresholds .*{name}.*expected JSON \{{label: score\}}, CSV lines"):
        LanguageFilter(thresholds=str(path)).open(Tables(rows={"de": {"stopwords": []}}))


def test_thresholds_judge_each_requested_language_of_a_fasttext_model(small_fasttext):  # noqa: F811
    """With a fastText model a document stays if any requested language scores above its own threshold."""
    settings = {"model": str(small_fasttext), "languages": ["deu_Latn"], "min_score": 0.9}
    [(language, _, reason)] = run(settings | {"min_scores": {"de": 0.01}}, "the people of town in der")
    assert (language, reason) == ("en", None)
    assert run(settings, "the people of town in der")[0][2] == "language"


@pytest.mark.parametrize("model", [None, "lid/lid.176.ftz"])
def test_fineweb2_s_archive_decides_by_language(model):
    """With FineWeb-2's own archive each real document needs its own language's score, and the filters after it find its file."""
    archive = SHARED / "data" / "fineweb2-configs.tar.gz"
    if not archive.is_file():
        pytest.skip(f"FineWeb-2's thresholds are absent: {archive}")
    batch = real_documents("multi-00000", "multi-lid-00000", limit=300).select(["text"])
    settings = {"labels": "glotlid", "thresholds": str(archive), "model": None if model is None else asset(model)}
    result = LanguageFilter(**settings).open(Tables())(batch)
    table = Tables().tables(str(archive))
    languages, scores = (result.batch.column(name).to_pylist() for name in ("language", "language_score"))
    for language, score, reason in zip(languages, scores, result.reasons.to_pylist(), strict=True):
        least = table.get(language, {}).get("language_score", 0.65)
        assert (reason is None) == (score > least), (language, score, least)
    listed = [language in table for language in languages]
    assert sum(listed) > 0.8 * len(listed)
    for operator in (GopherRepetition, GopherQuality, FineWebQuality):
        reasons = operator(preset="fineweb2@by-language", thresholds=str(archive)).open(Tables())(result.batch).reasons.to_pylist()
        assert all(reason != "no_thresholds" for reason, is_listed in zip(reasons, listed, strict=True) if is_listed)


def test_a_table_behind_a_signed_url_is_told_by_its_path(tmp_path):
    """What follows the question mark says nothing of the format."""
    path = tmp_path / "scores.json"
    path.write_text('{"en": 0.9}')
    uri = "https://example.org/scores.json?X-Amz-Signature=0123"
    assert score_table(Tables(moved={uri: str(path)}), uri, "language_filter") == {"en": 0.9}
