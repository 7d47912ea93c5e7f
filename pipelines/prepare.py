"""The checks before the start, and what a plan is made of: the input is listed, the output is proven safe, every asset is loaded.

Nothing here writes but the store's own probe: a run that cannot work is refused before it has done any.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

import pyarrow as pa

from cluster.tasks import Executor, InlineExecutor
from operators.base import BatchOperator, Learned, LearningOperator, OperatorError
from pipelines.assets import asset_digest, asset_tables, local_asset
from pipelines.chain import bounded, open_chain
from pipelines.config import PipelineConfig
from pipelines.errors import (
    BudgetExceeded,
    ConfigError,
    InputError,
    NotFound,
    ShardmillError,
    Unavailable,
    UnitError,
    UnreadableInput,
    shown,
)
from pipelines.formats import ReadOptions
from pipelines.inventory import Inventory, MapFiles, take_inventory
from pipelines.judging import Judged
from pipelines.ledger import most_allowed
from pipelines.operator_warnings import heard, told
from pipelines.plan import End, Ingredients, cut, learning
from pipelines.redaction import redact_uri
from pipelines.settings import IDS_COLUMN
from pipelines.storage import Sources, open_store
from pipelines.token_ids import WIDTHS, id_type
from pipelines.unit import MADE_ID, judged_schema

FEW_CHUNKS: Final = 8
"""Chunks of files (of 256 files or 256 MiB of JSONL) that are looked into here; starting Ray for them would take longer."""
NUM_THREADS: Final = 4
HUB: Final = "hf://"
HUB_KINDS: Final = frozenset({"buckets", "datasets", "models", "spaces"})
MAX_ASSET_SECONDS: Final = 20.0
"""How long a place that does not answer is asked again before a run starts; one who has mistyped it waits for the message."""
MAX_PARTITION_NAME_BYTES: Final = 128
"""Of a partition column's name, so that a folder's name has room for the value."""
BYTES: Final = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that planning needs, found out.

    Attributes:
        warnings: What operators told a user while they were opened, by name; only of those that did.
        own_runs: Of what this very output left in the history, only what these runs left counts; None: all of it.
        pinned: The generations that the run had, where it is one that has finished its version; None: that is found out.
    """

    inventory: Inventory
    ingredients: Ingredients
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_runs: frozenset[str] | None = None
    pinned: Sequence[str] | None = None


class Take(Protocol):
    """Makes the inventory of a run: `take_inventory` of the pipeline's input, or another choice of files."""

    def __call__(self, sources: Sources, patterns: Sequence[str], options: ReadOptions, *, map_files: MapFiles) -> Inventory:
        """See `take_inventory`."""


def prepare(config: PipelineConfig, started: Callable[[], Executor], limit: int | None = None, take: Take = take_inventory) -> Prepared:
    """List the input, digest the assets and open every operator.

    Raises:
        InputError: The input cannot be read, or has not the columns that the pipeline names.
        UnitError: An operator cannot be opened.
        BudgetExceeded: More files are unreadable than the budget allows.
    """
    output = open_store(config.output.uri, config.output.storage_options).uri
    sources = Sources(config.input.storage_options, {output: config.output.storage_options})
    options = ReadOptions(config.input.format, config.input.text_column, config.input.id_column, config.input.path_columns)
    assets = asset_digests(config, sources)
    inventory = take(sources, config.input.uri, options, map_files=partial(file_map, started))
    if limit is not None:
        inventory = inventory.limited(limit)
    _check_unreadable(config, inventory)
    options, made_id = _id_column(config, options, inventory.schema)
    schema = inventory.schema.append(pa.field(MADE_ID, pa.string())) if made_id else inventory.schema
    schemas, warnings = stage_schemas(config, schema, DriverAssets(config, sources, assets))
    _check_partitions(config.output.partition_by, schemas[-1])
    if config.output.token_shards is not None:
        _check_token_ids(schemas[-1])
    return Prepared(inventory, Ingredients(config, options, assets, schemas, made_id), warnings)


def asset_digests(config: PipelineConfig, sources: Sources) -> dict[str, str]:
    """sha256 of every asset that an operator names.

    Raises:
        ConfigError: An asset is not there; names the operator.
    """
    digests: dict[str, str] = {}
    problems = []
    brief = Sources(sources.storage_options, sources.elsewhere, max_seconds=MAX_ASSET_SECONDS)
    learners = learning(config.operators)
    for operator in config.operators:
        for uri in operator.asset_uris_beside(learners):
            if (misnamed := _misnamed(uri, learners)) is not None:
                problems.append(f"operator {operator.name!r}: {misnamed}")
                continue
            try:
                digests[uri] = asset_digest(brief, uri)
            except ShardmillError as error:
                problems.append(f"operator {operator.name!r}: {_asset_problem(redact_uri(uri), error)}")
    if problems:
        raise ConfigError("\n".join(problems))
    return digests


def _misnamed(uri: str, learners: Iterable[str]) -> str | None:
    """What is wrong with an address on the Hub that cannot be one: a path that is not there, or an operator's name, was taken for an id."""
    if not uri.startswith(HUB):
        return None
    name = uri.removeprefix(HUB)
    if name.startswith(("/", ".", "~")):
        return f"there is no folder {name.rpartition('/')[0]}; give a path or URL that can be read, or the id of a model"
    kind, *rest = parts = name.split("/")
    parts = rest if kind in HUB_KINDS else parts
    if len(parts) < 3 or not all(parts):
        remedy = "an id there is OWNER/NAME, as openai-community/gpt2; or give a path or URL that can be read"
        near = difflib.get_close_matches(parts[0], sorted(learners), n=1)
        return f"{uri} names no file on the Hub; {f'did you mean the operator {near[0]!r}? Else ' if near else ''}{remedy}"
    return None


def _asset_problem(uri: str, error: ShardmillError) -> str:
    """Why an asset cannot be read, and what to give instead."""
    on_hub = uri.startswith(HUB)
    if isinstance(error, NotFound):
        hint = ", or the id of a model on the Hub; a private one is read with HF_TOKEN" if on_hub else ""
        return f"there is no file {uri}; give a path or URL that can be read{hint}"
    message = redact_uri(error.message)
    told = message if message.startswith(f"{uri}:") else f"{uri} cannot be read: {message}"
    return f"{told}, or give the path of a file on this machine" if on_hub and isinstance(error, Unavailable) else told


def stage_schemas(
    config: PipelineConfig, schema: pa.Schema, assets: DriverAssets
) -> tuple[tuple[pa.Schema, ...], dict[str, tuple[str, ...]]]:
    """Columns that come into each stage, and last those that go out, by running every operator on an empty batch; and their warnings."""
    schemas = [schema]
    warnings: dict[str, tuple[str, ...]] = {}
    judged: list[Judged] = []
    for batch, ends in cut(config.operators):
        schema = judged_schema(schema, judged)
        opened = open_chain([operator for operator in batch if isinstance(operator, BatchOperator)], schema, assets)
        schema = opened[-1].schema if opened else schema
        warnings |= {operator.name: operator.warnings for operator in opened}
        warnings |= {end.name or end.type: _open_end(end, schema, assets) for end in ends}
        judged = list(map(Judged.of, ends))
        schemas.append(schema)
    return tuple(schemas), {name: warned for name, warned in warnings.items() if warned}


def _open_end(operator: End, schema: pa.Schema, assets: DriverAssets) -> tuple[str, ...]:
    """Open an operator that ends a stage, to see that it can be; returns what it warned of."""
    try:
        with heard() as warned:
            operator.open(assets)(pa.RecordBatch.from_pylist([], schema=schema))
    except OperatorError as error:
        raise UnitError(f"operator {operator.name!r}: {redact_uri(str(error))}") from error
    except Exception as error:
        raise UnitError(f"operator {operator.name!r} cannot be opened: {type(error).__name__}: {bounded(error)}") from error
    return told(warned)


class DriverAssets:
    """The driver's own view of assets, for opening operators before the start."""

    def __init__(self, config: PipelineConfig, sources: Sources, digests: Mapping[str, str]) -> None:
        self._config = config
        self._sources = sources
        self._digests = digests

    @property
    def text_column(self) -> str:
        """As the pipeline has it; so is the seed."""
        return self._config.input.text_column

    @property
    def seed(self) -> int:
        """See `Assets`."""
        return self._config.execution.seed

    def path(self, uri: str) -> str:
        """A local copy of an asset."""
        return str(local_asset(self._sources, uri, self._digests[uri]))

    def tables(self, uri: str) -> Mapping[str, Mapping[str, Any]]:
        """The YAML files of an asset."""
        return asset_tables(self._sources, uri, self._digests[uri])

    def learned(self, name: str) -> Learned | None:
        """The operator that learns; no file, since none is learned yet."""
        learners = (operator for operator in self._config.operators if isinstance(operator, LearningOperator))
        return next((Learned(operator, None) for operator in learners if operator.name == name), None)


def _id_column(config: PipelineConfig, options: ReadOptions, schema: pa.Schema) -> tuple[ReadOptions, bool]:
    name = options.id_column
    kind = None if name is None or name not in schema.names else schema.field(name).type
    if kind is not None and not pa.types.is_nested(kind):
        return options, False
    if kind is not None and config.input.id_is_required:
        raise InputError(
            f"input.id_column: column {name!r} is {shown(kind)}; an id must be one value: name another column, or null for none"
        )
    if name is not None and config.input.id_is_required:
        raise InputError(f"input.id_column: the documents have no column {name!r}; they have: {', '.join(schema.names)}")
    return replace(options, id_column=None), MADE_ID not in schema.names


def _check_partitions(columns: Iterable[str], schema: pa.Schema) -> None:
    """Refuse partition columns that are not there, or whose values cannot name a folder."""
    for name in columns:
        if name not in schema.names:
            raise InputError(f"output.partition_by: the documents have no column {name!r}; they have: {', '.join(schema.names)}")
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or any(test(kind) for test in BYTES):
            raise InputError(
                f"output.partition_by: column {name!r} is {shown(kind)}, which names no folder; use one of text, numbers or dates"
            )
        if "/" in name or len(name.encode()) > MAX_PARTITION_NAME_BYTES:
            raise InputError(
                f"output.partition_by: {shown(name)!r} cannot begin a folder's name: it has a '/' or more than "
                f"{MAX_PARTITION_NAME_BYTES} bytes; rename the column"
            )


def _check_token_ids(schema: pa.Schema) -> None:
    """Refuse documents that have no token ids, or in a type that no token shard has."""
    if IDS_COLUMN not in schema.names:
        raise InputError(
            f"output.token_shards: they are made of the column {IDS_COLUMN!r}, which the documents have not; they have: "
            f"{', '.join(schema.names)}; add a `tokenize` operator, or leave output.token_shards out"
        )
    if id_type(schema) is None:
        raise InputError(
            f"output.token_shards: column {IDS_COLUMN!r} is {shown(schema.field(IDS_COLUMN).type)}, expected lists of "
            f"{', '.join(map(str, WIDTHS))}; make it with a `tokenize` operator, or cast it before"
        )


def _check_unreadable(config: PipelineConfig, inventory: Inventory) -> None:
    bad = inventory.unreadable
    if not bad:
        return
    uri, error, message = bad[0]
    if config.execution.on_error == "fail":
        raise UnreadableInput(f"{uri}: {error}: {message}; repair or remove it, or set execution.on_error to quarantine")
    allowed = config.execution.max_quarantined_fraction
    if len(bad) > most_allowed(allowed, inventory.num_files):
        raise BudgetExceeded(
            f"{len(bad)} of {inventory.num_files} input files cannot be read, the first is {uri}: {error}: {shown(message)}; "
            f"execution.max_quarantined_fraction allows {allowed:g} of the files; repair or remove them, or raise it"
        )


def file_map(started: Callable[[], Executor], function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """A parallel, ordered map for looking into files: by threads where there is little, on the cluster where there is much."""
    listed = list(items)
    if len(listed) <= FEW_CHUNKS:
        with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="inventory") as threads:
            yield from threads.map(function, listed)
        return
    executor = started()
    yield from map(function, listed) if isinstance(executor, InlineExecutor) else _on(executor, function, listed)


def _on(executor: Executor, function: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    results: dict[int, Any] = {}
    sent = 0
    for position in range(len(items)):
        while position not in results:
            while sent < len(items) and sent - len(results) < executor.slots * 4:
                executor.submit(sent, function, items[sent])
                sent += 1
            for done in executor.wait(1.0):
                # A worker that died is no reason to stop: the driver looks into the file itself, and gets any error first-hand.
                results[done.token] = function(items[done.token]) if done.loss is not None else done.value
        yield results[position]
