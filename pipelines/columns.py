"""Types of columns: which plain type a file's column has, and which one type several files' columns share.

Owns the rules of promotion. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without encodings: dictionaries, views, run ends and extensions become what they stand for; children are nullable."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if kind == pa.string_view():
        return pa.large_string()
    if kind == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([plain_field(child) for child in kind])
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_field(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(plain_field(kind.value_field))
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(plain_field(kind.value_field))
    return kind


def plain_field(field: pa.Field) -> pa.Field:
    """The field with its plain type, nullable, without metadata."""
    return pa.field(field.name, plain_type(field.type))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with plain fields, without metadata."""
    return pa.schema([plain_field(field) for field in schema])


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this plain type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def holds_text(kind: pa.DataType) -> bool:
    """Whether strings occur anywhere in the type."""
    if kind.num_fields:
        return any(holds_text(kind.field(index).type) for index in range(kind.num_fields))
    plain = plain_type(kind)
    return is_text(plain) if plain == kind or not plain.num_fields else holds_text(plain)


def unified_type(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, or None where there is no promotion.

    Null takes the other's type, integers widen and become floating point beside it, string becomes large_string, structs gain fields.
    Strings and bytes are not mixed: bytes that are no UTF-8 would turn every file's text into bytes.
    """
    if first.equals(second):
        return first
    if is_text(first) != is_text(second) and not (pa.types.is_null(first) or pa.types.is_null(second)):
        return None
    try:
        fields = [pa.schema([pa.field("x", kind)]) for kind in (first, second)]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def unified_schema(schemas: Iterable[pa.Schema], text_column: str) -> pa.Schema:
    """Every column of any schema, in the order of first appearance; the first to have a column decides where no promotion exists.

    The text column's type is decided by those alone in which it is a string column.
    """
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = types.get(field.name)
            if known is None or (field.name == text_column and not is_text(known)):
                types[field.name] = field.type
                continue
            if field.name == text_column and not is_text(field.type):
                continue
            unified = unified_type(known, field.type)
            types[field.name] = known if unified is None else unified
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def writable_type(kind: pa.DataType, *, nested: bool = False) -> pa.DataType:
    """The plain type with strings for nested values of which none was ever seen.

    Such are the items of lists that are always empty. pyarrow 26 reads `[null, null]` as `list<null>` into an array that is not valid.
    """
    if pa.types.is_null(kind):
        return pa.string() if nested else kind
    if pa.types.is_struct(kind):
        return pa.struct([child.with_type(writable_type(child.type, nested=True)) for child in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(writable_type(kind.value_type, nested=True)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(writable_type(kind.value_type, nested=True)))
    return kind


def fits(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether values of the plain type `kind` can be given as `target`, the type of the inventory's column."""
    unified = unified_type(target, kind)
    return unified is not None and unified.equals(target)
