"""Language identification: the libraries' own labels and scores, and who stays."""

from __future__ import annotations

import pyarrow as pa
import pytest
from operator_samples import ASSETS, FakeAssets, asset, real_documents, small_fasttext  # noqa: F401 -- a fixture
from pydantic import ValidationError

from operators.base import OperatorError
from operators.language import LanguageFilter

ENGLISH = "The people of the town have been to the market and came back with apples."
GERMAN = "Die Menschen in der Stadt waren auf dem Markt und haben Brot mitgebracht."


def run(settings, *texts):
    result = LanguageFilter(**settings).open(ASSETS)(pa.record_batch({"text": pa.array(texts, pa.string())}))
    return result.batch.column("language").to_pylist(), result.batch.column("language_score").to_pylist(), result.reasons.to_pylist()


def test_keeps_requested_languages_only():
    """Another language goes as `language`."""
    languages, scores, reasons = run({"languages": ["en"]}, ENGLISH, GERMAN)
    assert languages == ["en", "de"]
    assert all(score > 0.9 for score in scores)
    assert reasons == [None, "language"]


def test_without_languages_only_the_score_counts():
    """Any language stays that is recognised well; what is no language at all goes as `language_score`."""
    assert run({}, ENGLISH, GERMAN, "12345", "")[2] == [None, None, "language_score", "language_score"]


@pytest.mark.parametrize("model", ["py3langid", "fasttext"])
def test_score_must_be_above_the_threshold(model, small_fasttext):  # noqa: F811
    """A score equal to `min_score` is not enough, as in datatrove."""
    settings = {"languages": ["en"], "model": str(small_fasttext) if model == "fasttext" else None}
    _, [score], _ = run(settings | {"min_score": 0.0}, "the market")
    assert 0 < score < 1
    assert run(settings | {"min_score": score}, "the market")[2] == ["language_score"]
    assert run(settings | {"min_score": score - 1e-6}, "the market")[2] == [None]


def test_low_thresholds_let_any_requested_language_pass(small_fasttext):  # noqa: F811
    """Below one half a requested language may pass though another is likelier, as in datatrove; the columns name the likeliest."""
    settings = {"model": str(small_fasttext), "languages": ["de"]}
    [language], _, [reason] = run(settings | {"min_score": 0.01}, "the people of town in der")
    assert (language, reason) == ("en", None)
    assert run(settings | {"min_score": 0.6}, "the people of town in der")[2] == ["language"]


def test_line_feeds_do_not_reach_fasttext(small_fasttext):  # noqa: F811
    """A line feed reads as a space, also where it would end the text for the library."""
    scores = run({"model": str(small_fasttext)}, "the people of\nund der town\n", "the people of und der town ")[1]
    assert 0.5 < scores[0] == scores[1] < 0.9


def test_a_model_may_have_no_opinion(small_fasttext):  # noqa: F811
    """Where no word is in a model's vocabulary the language is null, and the document goes."""
    model = str(small_fasttext)
    assert run({"model": model}, "\n\n", "xyzzy") == ([None, None], [0.0, 0.0], ["language_score"] * 2)
    assert run({"model": model, "languages": ["en"]}, "xyzzy")[2] == ["language"]


def test_labels_and_scores_are_py3langid_s():
    """On real documents in a hundred languages, label and score are those of the library's own call."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    batch = real_documents("multi-lid-00000", "edge-00000")
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    result = LanguageFilter(languages=["en", "de", "fr"], min_score=0.9).open(ASSETS)(batch)
    columns = (batch.column("text"), result.batch.column("language"), result.batch.column("language_score"), result.reasons)
    for text, language, score, reason in zip(*(column.to_pylist() for column in columns), strict=True):
        label, probability = identifier.classify(text)
        wanted = label in ("en", "de", "fr")
        assert language == label
        assert score == pytest.approx(probability, abs=1e-4)
        assert reason == (None if wanted and probability > 0.9 else "language_score" if wanted else "language")


@pytest.mark.parametrize("settings", [{}, {"languages": ["en", "de"]}, {"languages": ["fr", "sr"], "min_score": 0.1}], ids=str)
def test_decisions_are_datatrove_s(settings, monkeypatch):
    """With lid.176.ftz, datatrove's LanguageFilter keeps the same real documents with the same labels and scores."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import LanguageFilter as Reference
    from fasttext.FastText import _FastText

    path = asset("lid/lid.176.ftz")
    batch = real_documents("multi-lid-00000", "edge-00000", "web-thirdparty-00001")
    reference = Reference(settings.get("languages"), settings.get("min_score", 0.65))
    monkeypatch.setattr(reference.model, "_model", _FastText(path))
    result = LanguageFilter(model="lid", **settings).open(FakeAssets(moved={"lid": path}))(batch)
    for row in range(batch.num_rows):
        document = Document(text=batch.column("text")[row].as_py(), id="")
        assert bool(reference.filter(document)) == (result.reasons[row].as_py() is None)
        assert document.metadata["language"] == result.batch.column("language")[row].as_py()
        assert result.batch.column("language_score")[row].as_py() == pytest.approx(document.metadata["language_score"], abs=1e-4)


def test_the_model_is_an_asset():
    """What the worker must fetch is declared, and nothing where the model is bundled."""
    assert LanguageFilter().asset_uris() == ()
    assert LanguageFilter(model="s3://models/lid.bin").asset_uris() == ("s3://models/lid.bin",)


def test_wrong_languages_and_models_are_named(tmp_path, small_fasttext):  # noqa: F811
    """An unknown language names the nearest known one, a file that is no model what it should be."""
    with pytest.raises(OperatorError, match="'english'; did you mean 'en'"):
        LanguageFilter(languages=["english"]).open(ASSETS)
    with pytest.raises(OperatorError, match="knows no language 'xx'"):
        LanguageFilter(languages=["en", "xx"], model=str(small_fasttext)).open(ASSETS)
    (tmp_path / "model.bin").write_text("nothing of the kind")
    for path in (tmp_path / "model.bin", tmp_path / "absent.bin"):
        with pytest.raises(OperatorError, match="not a fastText model"):
            LanguageFilter(model=str(path)).open(ASSETS)
    with pytest.raises(ValidationError):
        LanguageFilter(languages=[])
