"""What holds for every operator, whatever it does."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from operator_samples import (
    ASSETS,
    TEXTS,
    by_document,
    documents,
    opened,
    outcome,
    sample_settings,
    small_fasttext,  # noqa: F401 -- fixture
    small_tokenizer,  # noqa: F401 -- fixture
)
from pydantic import TypeAdapter, ValidationError

from operators import BY_TYPE, AnyOperator
from operators.base import BatchOperator, GroupOperator, LearningOperator, Operator, OperatorError
from operators.dedup import DedupOperator, KeyedDedup
from operators.keep import WORDS
from operators.near import NearOperator
from operators.passages import KEYS, PassageOperator, PassageRows

NAMES = list(sample_settings("t", "m"))
ADAPTER: TypeAdapter[Operator] = TypeAdapter(AnyOperator)


def names_of(contract: type[Operator]) -> list[str]:
    return [name for name in NAMES if issubclass(BY_TYPE[name.partition("-")[0]], contract)]


def made(name, tokenizer, fasttext):
    return ADAPTER.validate_python(sample_settings(tokenizer, fasttext)[name])


def judged(operator, batch):
    """What an operator's function says of each document of a batch: its row, or its keys; its reason; its error."""
    return told(opened(operator)(batch), batch.num_rows)


def told(found, num_documents):
    if isinstance(found, pa.RecordBatch):
        return by_document(found, num_documents), [], {}
    return outcome(found)


@pytest.fixture(params=NAMES)
def operator(request, small_tokenizer, small_fasttext) -> Operator:  # noqa: F811
    return made(request.param, small_tokenizer, small_fasttext)


@pytest.fixture(params=names_of(BatchOperator))
def batch_operator(request, small_tokenizer, small_fasttext) -> BatchOperator:  # noqa: F811
    return made(request.param, small_tokenizer, small_fasttext)


@pytest.fixture(params=names_of(LearningOperator))
def learning_operator(request) -> LearningOperator:
    return made(request.param, "", "")


@pytest.fixture(params=names_of(KeyedDedup))
def keyed_operator(request) -> KeyedDedup:
    return made(request.param, "", "")


@pytest.fixture(params=names_of(NearOperator))
def near_operator(request) -> NearOperator:
    return made(request.param, "", "")


@pytest.fixture(params=names_of(DedupOperator))
def dedup_operator(request) -> DedupOperator:
    return made(request.param, "", "")


@pytest.fixture(params=names_of(PassageOperator))
def passage_operator(request) -> PassageOperator:
    return made(request.param, "", "")


def test_union_and_index_name_the_same_operators_in_alphabetical_order():
    """What a pipeline may name is what the index knows, each under its own type."""
    union = get_args(get_args(AnyOperator)[0])
    assert [cls.model_fields["type"].default for cls in union] == list(BY_TYPE) == sorted(BY_TYPE)
    assert list(BY_TYPE.values()) == list(union)


def test_every_operator_has_a_sample():
    """No operator escapes the contract."""
    assert {settings["type"] for settings in sample_settings("t", "m").values()} == set(BY_TYPE)


def test_input_columns_stay_and_new_ones_come_last(batch_operator):
    """Columns keep their place and type; those that are not the text keep their values too, and so does it unless it is said to change."""
    batch = documents()
    result = opened(batch_operator)(batch).batch
    assert result.num_rows == batch.num_rows
    assert result.schema.names[: batch.num_columns] == batch.schema.names
    for name in batch.schema.names:
        assert result.schema.field(name).type == batch.schema.field(name).type
        if name != "text" or not batch_operator.may_edit_text:
            assert result.column(name).equals(batch.column(name))
    result.validate(full=True)


def test_reasons_are_one_string_or_null_a_row(batch_operator):
    """Reasons are as long as the batch, and errors point into it."""
    result = opened(batch_operator)(documents())
    if result.reasons is not None:
        assert pa.types.is_string(result.reasons.type)
        assert len(result.reasons) == result.batch.num_rows
    assert all(0 <= row < result.batch.num_rows for row in result.errors)


def test_samples_do_something(operator):
    """The settings under test are not ones under which nothing happens."""
    given = documents()
    result = opened(operator)(given)
    if isinstance(operator, GroupOperator):
        names = ["bands"] if isinstance(operator, NearOperator) else ["key_hi", "key_lo"]
        keys = list(zip(*(result.column(name).to_pylist() for name in names), strict=True))
        assert 1 < len(set(keys)) < len(keys)
    elif isinstance(operator, LearningOperator):
        assert any(outcome(result)[0])
    else:
        _, reasons, _ = outcome(result)
        assert any(reasons) or not result.batch.equals(given)


def test_every_group_operator_is_of_one_kind():
    """Documents by equal keys, documents by resemblance, passages: no operator escapes what must hold for its kind."""
    kinds = [names_of(kind) for kind in (KeyedDedup, NearOperator, PassageOperator)]
    assert sorted(name for names in kinds for name in names) == sorted(names_of(GroupOperator))


def test_keys_are_two_words_both_null_or_none(keyed_operator):
    """An operator that compares equal keys gives one key a document."""
    keys = opened(keyed_operator)(documents())
    assert keys.num_rows == len(TEXTS)
    assert keys.schema.names[:2] == ["key_hi", "key_lo"]
    assert keys.schema.field("key_hi").type == keys.schema.field("key_lo").type == pa.uint64()
    assert keys.column("key_hi").is_null().equals(keys.column("key_lo").is_null())


def test_a_document_has_a_key_for_each_band_or_none(near_operator):
    """An operator that finds near-duplicates gives one row a document; without a word there is no key, and a signature all the same."""
    keys = opened(near_operator)(documents())
    assert keys.num_rows == len(TEXTS)
    assert keys.schema.field(near_operator.KEY).type == pa.binary(8 * near_operator.num_bands)
    assert keys.column(near_operator.KEY).null_count == TEXTS.count("") + TEXTS.count("# " * 30)
    assert ("signature" in keys.schema.names) == (near_operator.verify == "estimate")
    features = near_operator.shingles(ASSETS)(documents())
    alike = near_operator.similarity(*[keys.column("signature") if "signature" in keys.schema.names else features] * 2)
    assert [value for value, key in zip(alike.tolist(), keys.column(near_operator.KEY).to_pylist(), strict=True) if key is not None] == (
        [1.0] * (keys.num_rows - keys.column(near_operator.KEY).null_count)
    )


def test_passages_come_in_the_order_of_the_text(passage_operator):
    """An operator that cuts passages gives a row a passage: its document in the batch, its number there, and a whole key."""
    keys = opened(passage_operator)(documents())
    assert keys.schema.equals(KEYS)
    assert all(column.null_count == 0 for column in keys.columns)
    places = list(zip(keys.column("index").to_pylist(), keys.column("passage").to_pylist(), strict=True))
    assert places == sorted(set(places))
    assert all(0 <= document < len(TEXTS) for document, _ in places)


def test_empty_batch_has_the_same_schema(operator):
    """An empty batch comes back with the columns that a full one would have."""
    function = opened(operator)
    full, empty = function(documents()), function(documents().slice(0, 0))
    full_schema, empty_schema = (
        each.type if isinstance(each, pa.Array) else each.schema if isinstance(each, pa.RecordBatch) else each.batch.schema
        for each in (full, empty)
    )
    assert empty_schema.equals(full_schema)
    assert told(empty, 0) == ([], [], {})


@pytest.mark.parametrize("text_type", [pa.string(), pa.string_view()], ids=str)
def test_text_type_does_not_matter(operator, text_type):
    """The same text in another Arrow layout gives the same result, and the column keeps its layout."""
    assert judged(operator, documents(text_type)) == judged(operator, documents())
    if isinstance(operator, BatchOperator):
        other = opened(operator)(documents(text_type))
        assert other.batch.schema.field("text").type == text_type


@pytest.mark.parametrize("cuts", [(1, 2, 3), (5,), tuple(range(1, len(TEXTS)))], ids=str)
def test_batches_can_be_cut_anywhere(operator, cuts):
    """A row's result does not depend on the rows beside it, nor on where a batch begins in its buffers."""
    function, batch = opened(operator), documents()
    rows, reasons, errors = told(function(batch), batch.num_rows)
    bounds = [0, *cuts, batch.num_rows]
    parts = [(start, told(function(batch.slice(start, stop - start)), stop - start)) for start, stop in pairwise(bounds)]
    assert [row for _, part in parts for row in part[0]] == rows
    assert [reason for _, part in parts for reason in part[1]] == reasons
    assert {start + row: error for start, part in parts for row, error in part[2].items()} == errors


def test_order_of_rows_does_not_matter(operator):
    """Rows in another order give the same results in that order."""
    batch = documents()
    order = np.random.default_rng(0).permutation(batch.num_rows)
    rows, reasons, _ = judged(operator, batch)
    shuffled_rows, shuffled_reasons, _ = judged(operator, batch.take(pa.array(order)))
    assert shuffled_rows == [rows[i] for i in order]
    assert shuffled_reasons == ([reasons[i] for i in order] if reasons else [])


def test_opening_twice_gives_the_same(operator):
    """Two workers agree, and one agrees with itself."""
    first, second = opened(operator), opened(operator)
    found = [told(function(documents()), len(TEXTS)) for function in (first, second, first)]
    assert found[0] == found[1] == found[2]


def test_input_is_not_touched(operator):
    """The batch that came in is as it was."""
    batch = documents()
    opened(operator)(batch)
    assert batch.equals(documents())


def test_null_text_is_an_error_of_its_row_or_no_key(operator):
    """A null text never reaches the judgement of its neighbours."""
    batch = documents()
    texts = [None if row == 1 else text for row, text in enumerate(TEXTS)]
    with_null = batch.set_column(1, batch.schema.field("text"), pa.array(texts, pa.large_string()))
    rows, _, errors = judged(operator, with_null)
    if isinstance(operator, GroupOperator):
        assert [row for at, row in enumerate(rows) if at != 1] == [row for at, row in enumerate(judged(operator, batch)[0]) if at != 1]
    elif isinstance(operator, LearningOperator):
        assert [at for at, row in enumerate(rows) if row is None] == [1]
    elif operator.type != "filter_where":  # a condition may well ask for a null
        assert errors[1].error == "null_text"
        assert set(errors) == {1}


def test_missing_text_column_is_one_clear_error(operator):
    """The error names what is missing and what is there."""
    batch = documents().rename_columns(["id", "content", "url", "score", "number", "meta", "time", "day", "nothing"])
    with pytest.raises(OperatorError, match=r"no column 'text'.*content"):
        opened(operator)(batch)


def test_text_that_is_no_string_is_one_clear_error(batch_operator):
    """A text column of numbers is refused by its type."""
    batch = documents()
    numbers = batch.set_column(1, "text", pa.array(range(batch.num_rows)))
    with pytest.raises(OperatorError, match="int64"):
        opened(batch_operator)(numbers)


def test_settings_survive_json_and_pickle(operator):
    """A worker gets the very operator that was configured."""
    assert ADAPTER.validate_json(operator.model_dump_json()) == operator
    assert ADAPTER.validate_python(json.loads(json.dumps(operator.model_dump()))) == operator
    assert pickle.loads(pickle.dumps(operator)) == operator


def test_settings_are_frozen_and_closed(operator):
    """A setting can neither change nor be misspelt."""
    with pytest.raises(ValidationError, match="frozen"):
        operator.name = "other"
    settings: dict[str, Any] = operator.model_dump()
    with pytest.raises(ValidationError, match="min_charz"):
        ADAPTER.validate_python(settings | {"min_charz": 1})


def test_renamed_operator_differs_by_name_alone(operator):
    """`named` leaves the settings as they are."""
    renamed = operator.named("other")
    assert renamed.name == "other"
    assert renamed.model_dump(exclude={"name"}) == operator.model_dump(exclude={"name"})


# What operators learn


def test_a_lesson_is_a_text_of_each_document(learning_operator):
    """An operator that learns says of every document what it learns from it, as large strings that are whole characters."""
    lessons = opened(learning_operator)(documents())
    lessons.validate(full=True)
    assert (lessons.type, len(lessons)) == (pa.large_string(), len(TEXTS))
    assert set(learning_operator.SAMPLING) <= set(type(learning_operator).model_fields)


def test_the_same_lessons_teach_the_same(learning_operator):
    """However the sample is handed over, what is learned is the same bytes, and they are a file's content."""
    lessons = opened(learning_operator)(documents())
    lessons = lessons.filter(pa.array([bool(text) for text in lessons.to_pylist()]))
    whole = learning_operator.learn(iter([lessons]))
    assert isinstance(whole, bytes)
    assert whole
    assert learning_operator.learn(lessons.slice(at, 1) for at in range(len(lessons))) == whole
    assert type(learning_operator).model_validate_json(learning_operator.model_dump_json()).learn(iter([lessons])) == whole


# What operators decide: of documents in any order the same


ORDERS = [np.arange(len(TEXTS)), np.arange(len(TEXTS))[::-1], *(np.random.default_rng(seed).permutation(len(TEXTS)) for seed in range(4))]


def decided(operator, order):
    """Documents that go, each with the one that stays and for how many that one does, where the documents come in some order."""
    given = documents().take(pa.array(order))
    rows = opened(operator)(given)
    rows = rows.add_column(0, "row", pa.array(order)).add_column(0, "file", pa.array(np.zeros(len(order), np.int64)))
    if isinstance(operator, NearOperator):
        if operator.verify == "exact":
            rows = rows.append_column("shingles", operator.shingles(ASSETS)(given))
    else:
        keys = [(name, "ascending") for name in ("key_hi", "key_lo", "file", "row")]
        rows = pa.Table.from_batches([rows]).sort_by(keys).combine_chunks().to_batches()[0]
    verdicts = operator.decide(rows)
    at = rows.column("row").to_numpy()
    assert len(set(verdicts.removed.tolist())) == len(verdicts.removed)
    assert not set(verdicts.removed.tolist()) & set(verdicts.kept.tolist())
    return {
        removed: (kept, number)
        for removed, kept, number in zip(
            at[verdicts.removed].tolist(), at[verdicts.kept].tolist(), verdicts.num_duplicates.tolist(), strict=True
        )
    }


def test_decisions_do_not_depend_on_the_order_of_rows(dedup_operator):
    """Whatever order documents come in, the same ones go for the same ones, and each kept one knows for how many."""
    first = decided(dedup_operator, ORDERS[0])
    assert first
    assert all(decided(dedup_operator, order) == first for order in ORDERS[1:])
    kept = [name for name, _ in first.values()]
    assert all(number == kept.count(name) for name, number in first.values())


def test_the_first_in_keep_order_stays(keyed_operator):
    """Of each set of documents with one key the best stays, by the policy's words and then by place."""
    rows = opened(keyed_operator)(documents()).to_pylist()
    groups: dict[Any, list[Any]] = {}
    for place, row in enumerate(rows):
        if row["key_hi"] is not None:
            groups.setdefault((row["key_hi"], row["key_lo"]), []).append((*(row[name] for name in WORDS if name in row), place))
    found = decided(keyed_operator, ORDERS[1])
    assert {place: kept for place, (kept, _) in found.items()} == {
        place: min(group)[-1] for group in groups.values() for *_, place in group if place != min(group)[-1]
    }


def test_passages_that_go_do_not_depend_on_the_order_of_documents(passage_operator):
    """Occurrences are judged by their places, whatever order their documents were read in."""
    found = []
    for order in ORDERS:
        keys = opened(passage_operator)(documents().take(pa.array(order)))
        hi, lo, passage = (keys.column(name).to_numpy() for name in ("key_hi", "key_lo", "passage"))
        row = order[keys.column("index").to_numpy()].astype(np.int64)
        by_key = np.lexsort((passage, row, lo, hi))
        rows = PassageRows(hi[by_key], lo[by_key], np.zeros(len(row), np.int64), row[by_key], passage[by_key])
        gone = passage_operator.decide_passages(rows)
        found.append(sorted(zip(rows.row[gone].tolist(), rows.passage[gone].tolist(), strict=True)))
    assert found[0]
    assert all(other == found[0] for other in found)


def test_passages_have_no_verdicts_on_documents(passage_operator):
    """Who asks for them is told what to ask for."""
    with pytest.raises(OperatorError, match="decide_passages"):
        passage_operator.decide(opened(passage_operator)(documents()))
