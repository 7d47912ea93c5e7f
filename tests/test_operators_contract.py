"""What holds for every operator, whatever it does."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from operator_samples import TEXTS, documents, opened, outcome, sample_settings, small_fasttext, small_tokenizer  # noqa: F401 -- fixtures
from pydantic import TypeAdapter, ValidationError

from operators import BY_TYPE, AnyOperator
from operators.base import BatchOperator, GroupOperator, Operator, OperatorError

NAMES = list(sample_settings("t", "m"))
ADAPTER: TypeAdapter[Operator] = TypeAdapter(AnyOperator)


GROUP_NAMES = [name for name in NAMES if name.startswith("exact_dedup")]


def made(name, tokenizer, fasttext):
    return ADAPTER.validate_python(sample_settings(tokenizer, fasttext)[name])


@pytest.fixture(params=NAMES)
def operator(request, small_tokenizer, small_fasttext) -> Operator:  # noqa: F811
    return made(request.param, small_tokenizer, small_fasttext)


@pytest.fixture(params=[name for name in NAMES if name not in GROUP_NAMES])
def batch_operator(request, small_tokenizer, small_fasttext) -> BatchOperator:  # noqa: F811
    return made(request.param, small_tokenizer, small_fasttext)


@pytest.fixture(params=GROUP_NAMES)
def group_operator(request) -> GroupOperator:
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
    """Columns keep their place and type; those that are not the text keep their values too."""
    batch = documents()
    result = opened(batch_operator)(batch).batch
    assert result.num_rows == batch.num_rows
    assert result.schema.names[: batch.num_columns] == batch.schema.names
    for name in batch.schema.names:
        assert result.schema.field(name).type == batch.schema.field(name).type
        if name != "text":
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
        keys = list(zip(*(result.column(name).to_pylist() for name in ("key_hi", "key_lo")), strict=True))
        assert 1 < len(set(keys)) < len(keys)
    else:
        _, reasons, _ = outcome(result)
        assert any(reasons) or not result.batch.equals(given)


def test_keys_are_two_words_both_null_or_none(group_operator):
    """A group operator gives one key a document."""
    keys = opened(group_operator)(documents())
    assert keys.num_rows == len(TEXTS)
    assert keys.schema.names[:2] == ["key_hi", "key_lo"]
    assert keys.schema.field("key_hi").type == keys.schema.field("key_lo").type == pa.uint64()
    assert keys.column("key_hi").is_null().equals(keys.column("key_lo").is_null())


def test_empty_batch_has_the_same_schema(operator):
    """An empty batch comes back with the columns that a full one would have."""
    function = opened(operator)
    full, empty = function(documents()), function(documents().slice(0, 0))
    full_schema, empty_schema = (each.schema if isinstance(each, pa.RecordBatch) else each.batch.schema for each in (full, empty))
    assert empty_schema.equals(full_schema)
    assert outcome(empty) == ([], [], {})


@pytest.mark.parametrize("text_type", [pa.string(), pa.string_view()], ids=str)
def test_text_type_does_not_matter(operator, text_type):
    """The same text in another Arrow layout gives the same result, and the column keeps its layout."""
    function = opened(operator)
    other = function(documents(text_type))
    assert outcome(other) == outcome(function(documents()))
    if isinstance(operator, BatchOperator):
        assert other.batch.schema.field("text").type == text_type


@pytest.mark.parametrize("cuts", [(1, 2, 3), (5,), tuple(range(1, len(TEXTS)))], ids=str)
def test_batches_can_be_cut_anywhere(operator, cuts):
    """A row's result does not depend on the rows beside it, nor on where a batch begins in its buffers."""
    function, batch = opened(operator), documents()
    rows, reasons, errors = outcome(function(batch))
    bounds = [0, *cuts, batch.num_rows]
    parts = [(start, outcome(function(batch.slice(start, stop - start)))) for start, stop in pairwise(bounds)]
    assert [row for _, part in parts for row in part[0]] == rows
    assert [reason for _, part in parts for reason in part[1]] == reasons
    assert {start + row: error for start, part in parts for row, error in part[2].items()} == errors


def test_order_of_rows_does_not_matter(operator):
    """Rows in another order give the same results in that order."""
    function, batch = opened(operator), documents()
    order = np.random.default_rng(0).permutation(batch.num_rows)
    rows, reasons, _ = outcome(function(batch))
    shuffled_rows, shuffled_reasons, _ = outcome(function(batch.take(pa.array(order))))
    assert shuffled_rows == [rows[i] for i in order]
    assert shuffled_reasons == ([reasons[i] for i in order] if reasons else [])


def test_opening_twice_gives_the_same(operator):
    """Two workers agree, and one agrees with itself."""
    first, second = opened(operator), opened(operator)
    assert outcome(first(documents())) == outcome(second(documents())) == outcome(first(documents()))


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
    result = opened(operator)(with_null)
    if isinstance(result, pa.RecordBatch):
        kept = opened(operator)(batch)
        others = [row for row in range(batch.num_rows) if row != 1]
        assert result.take(others).equals(kept.take(others))
    elif operator.type != "filter_where":  # a condition may well ask for a null
        assert result.errors[1].error == "null_text"
        assert set(result.errors) == {1}


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
