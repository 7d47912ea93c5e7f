"""What a pipeline file says, as frozen models: input, output, execution and cluster settings, and the pipeline made of them.

Owns every key of the file, its default and the rules between keys. Knows nothing of YAML (see config.py) or of stores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, WithJsonSchema, field_validator, model_validator

from operators.base import NAME, Operator
from pipelines.config_places import is_pattern, local_path, reads_own_output, scheme_of
from pipelines.config_sizes import PATTERN, parse_size, show_size
from pipelines.errors import shown
from pipelines.redaction import redact, redact_settings, secret_paths, variable_for
from pipelines.settings_cluster import ClusterConfig, InlineCluster, LocalCluster, RayCluster
from pipelines.settings_ingest import IngestConfig
from pipelines.settings_publish import PublishConfig, publish_problems
from pipelines.settings_schedule import ScheduleConfig
from pipelines.settings_section import Problem, Section, path_text
from pipelines.settings_submit import SubmitConfig

KIB, MIB = 1024, 1024**2
MIN_SHARD_BYTES = KIB
MIN_BATCH_BYTES = KIB
OUTPUT_SCHEMES = ("", "file", "local", "memory", "s3", "s3a")
IDS_COLUMN = "input_ids"
"""The column that token shards are made of: the one that `tokenize` adds."""
RESERVED_NAME = re.compile(r"(?P<read>read)|takedown(-\d+)?")
"""Under these names rows are counted that no operator of a pipeline dropped: they could not be read, or were taken out of the output."""
LATER_FORMATS = ("wat", "csv", "tsv", "json", "arrow", "text", "txt", "orc", "avro")


def _size_schema(minimum: int, *examples: str) -> dict[str, Any]:
    return {
        "anyOf": [{"type": "integer", "minimum": minimum}, {"type": "string", "pattern": PATTERN}],
        "examples": [*examples],
    }


def _size_of_at_least(minimum: int) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_size(value, at_least=minimum))


def _unit_bytes(value: object) -> object:
    return value if value == "auto" else parse_size(value, at_least=MIN_BATCH_BYTES)


BatchBytes = Annotated[int, _size_of_at_least(MIN_BATCH_BYTES), WithJsonSchema(_size_schema(MIN_BATCH_BYTES, "16MiB"))]
ShardBytes = Annotated[int, _size_of_at_least(MIN_SHARD_BYTES), WithJsonSchema(_size_schema(MIN_SHARD_BYTES, "512MiB"))]
UnitBytes = Annotated[
    int | Literal["auto"],
    BeforeValidator(_unit_bytes),
    WithJsonSchema({"anyOf": [*_size_schema(MIN_BATCH_BYTES)["anyOf"], {"const": "auto"}], "examples": ["auto", "256MiB"]}),
]
ColumnName = Annotated[str, Field(min_length=1)]
PipelineName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class InputConfig(Section):
    """Where the documents come from."""

    uri: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        description="Any fsspec URL or local path, or a list of them; `*`, `?`, `[…]` and `**` match names.",
        examples=["s3://raw/crawl/**/*.parquet", "data/*.jsonl.gz"],
    )
    format: Literal["parquet", "jsonl", "warc"] | None = Field(
        default=None, description="Format of the files (`warc` reads WET files too); null: told by each file's extension."
    )
    text_column: ColumnName = Field(default="text", description="Column that holds the documents' text.")
    id_column: ColumnName | None = Field(
        default="id", description="Column that holds the documents' ids; without it the id is the doc_key in hexadecimal."
    )
    path_columns: tuple[ColumnName, ...] = Field(
        default=(), description="Columns to add from hive-style folder names (`dump=…/date=…`).", examples=[["dump", "date"]]
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed to fsspec. Secrets come from the environment, never from here.",
        examples=[{"endpoint_url": "https://s3.example.org"}],
    )

    @field_validator("uri", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: object) -> object:
        if value is None or isinstance(value, dict):
            return value
        return tuple(value) if isinstance(value, list | tuple) else (value,)

    @field_validator("format", mode="before")
    @classmethod
    def _format_is_here(cls, value: object) -> object:
        if isinstance(value, str) and value.lower() in LATER_FORMATS:
            raise ValueError(f"the format {value!r} is not in this build yet; convert the files to parquet or jsonl first")
        return value

    @property
    def id_is_required(self) -> bool:
        """True if the pipeline names the id column itself; the default one may be absent in the input."""
        return self.id_column is not None and "id_column" in self.model_fields_set

    def problems(self) -> Iterator[Problem]:
        """Secrets, repeated columns, and path columns that would replace the text."""
        yield from _secret_problems(self.storage_options, self.uri[0])
        yield from _repeated(self.uri, "uri")
        yield from _repeated(self.path_columns, "path_columns")
        if self.text_column in self.path_columns:
            position = self.path_columns.index(self.text_column)
            message = f"{self.text_column!r} is the text column; a folder's name cannot be the text of a document"
            yield Problem(("path_columns", position), message)


class TokenShards(Section):
    """Files of token ids for trainers, beside the Parquet shards."""

    formats: tuple[Literal["datatrove", "megatron"], ...] = Field(
        min_length=1,
        description="`megatron`: `.bin` and `.idx`, as Megatron-LM's IndexedDataset reads them; `datatrove`: `.ds`, `.ds.index` and "
        "`.ds.metadata`, as datatrove 0.10.1 writes them.",
        examples=[["megatron", "datatrove"]],
    )
    shuffle: bool = Field(
        default=True,
        description="The documents of each shard in an order drawn from `execution.seed` (datatrove shuffles by default, too); false: in "
        "that of the Parquet shard.",
    )

    @field_validator("formats")
    @classmethod
    def _order_says_nothing(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(value))

    def problems(self) -> Iterator[Problem]:
        """Repeated formats."""
        yield from _repeated(self.formats, "formats")


class OutputConfig(Section):
    """Where the dataset goes, and how it is written."""

    uri: str = Field(
        min_length=1, description="Folder of the dataset: a local path or an S3 URL.", examples=["s3://clean/quickstart", "out/quickstart"]
    )
    storage_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Passed to fsspec. Secrets come from the environment, never from here.",
        examples=[{"endpoint_url": "https://s3.example.org"}],
    )
    target_shard_bytes: ShardBytes = Field(default=512 * MIB, description="Size of a shard, in uncompressed Arrow bytes.")
    compression: Literal["zstd", "snappy", "gzip", "lz4", "brotli", "none"] = Field(
        default="zstd", description="Compression of the Parquet files."
    )
    columns: tuple[ColumnName, ...] | None = Field(
        default=None, min_length=1, description="Columns of the output, in this order; null: all.", examples=[["id", "text", "language"]]
    )
    partition_by: tuple[ColumnName, ...] = Field(
        default=(), description="Columns whose values become folders: `[language]` gives `data/v1/language=en/…`.", examples=[["language"]]
    )
    token_shards: TokenShards | None = Field(
        default=None,
        description="Files of token ids for trainers, one for each Parquet shard, made of its column `input_ids`; null: none.",
        examples=[{"formats": ["megatron", "datatrove"]}],
    )
    source_column: ColumnName | None = Field(
        default=None,
        description="Column that names each document's source, for the manifest's token counts; it need not be among `columns`. null: the "
        "column `source` if there is one, else the folder of the input file.",
    )
    language_column: ColumnName | None = Field(
        default=None,
        description="Column that names each document's language, for the manifest's token counts; it need not be among `columns`. null: "
        "the column `language` (which language_filter adds), else `lang`; without either, tokens are not counted by language.",
    )
    dropped: bool = Field(default=False, description="True: the tables of dropped documents also carry the input's columns.")
    report_samples: int = Field(
        default=5,
        ge=0,
        le=50,
        description="Documents that the report shows for each reason, with a part of their text (default 5: some, not a dataset); 0: the "
        "report holds no text of any document. It changes no document of the output.",
    )
    licence: str | None = Field(
        default=None, min_length=1, description="Licence of the dataset, for its card and manifest.", examples=["odc-by"]
    )

    def problems(self) -> Iterator[Problem]:
        """Secrets, a place that cannot be an output, repeated columns, and partitions that are not in the output."""
        yield from _secret_problems(self.storage_options, self.uri)
        yield from _output_place_problems(self.uri)
        yield from _repeated(self.columns or (), "columns")
        yield from _repeated(self.partition_by, "partition_by")
        if self.token_shards is not None and self.columns is not None and IDS_COLUMN not in self.columns:
            message = f"their column {IDS_COLUMN!r} is not among output.columns ({', '.join(self.columns)}); add it there"
            yield Problem(("token_shards",), message)
        for position, column in enumerate(self.partition_by):
            if column.startswith(("_", ".")):
                message = f"{column!r} begins with {column[0]!r}, and readers skip such folders without a word; partition by another column"
                yield Problem(("partition_by", position), message)
            if self.columns is not None and column not in self.columns:
                message = f"{column!r} is not among output.columns ({', '.join(self.columns)}); add it there, or don't partition by it"
                yield Problem(("partition_by", position), message)


class ExecutionConfig(Section):
    """How the work is cut and what happens to what cannot be processed; none of it changes the documents that come out, but `seed`."""

    unit_bytes: UnitBytes = Field(
        default="auto", description="Input bytes of a unit, the piece of work and of commit; auto: chosen so that a run has under 200,000."
    )
    batch_bytes: BatchBytes = Field(default=16 * MIB, description="Arrow bytes of a batch; bounds the memory of a worker.")
    on_error: Literal["fail", "quarantine"] = Field(
        default="quarantine", description="What a row, row group or file that cannot be processed does: fail the run, or go to quarantine."
    )
    max_quarantined_fraction: float = Field(
        default=0.001, ge=0, le=1, description="The run stops when more than this fraction of the inventory's rows is quarantined."
    )
    keep_intermediates: Literal["none", "latest"] = Field(
        default="none", description="latest: keep what each stage wrote, so that a changed setting re-runs only what depends on it."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the operators that draw random numbers, and of the order in token shards."
    )

    def problems(self) -> Iterator[Problem]:
        """A batch that is larger than the unit that it is cut from, if both are set; the default one is then the whole unit."""
        if isinstance(self.unit_bytes, int) and "batch_bytes" in self.model_fields_set and self.batch_bytes > self.unit_bytes:
            batch, unit = show_size(self.batch_bytes), show_size(self.unit_bytes)
            message = f"batch_bytes ({batch}) is above unit_bytes ({unit}); a batch is cut from one unit, so make it at most as large"
            yield Problem(("batch_bytes",), message)


class PipelineConfig(BaseModel):
    """A whole pipeline, checked: every operator has its name, and the sections fit each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PipelineName = Field(description="Name of the pipeline and of its dataset.", examples=["quickstart"])
    input: InputConfig = Field(description="Where the documents come from.", examples=[{"uri": "s3://raw/**/*.parquet"}])
    operators: tuple[SerializeAsAny[Operator], ...] = Field(default=(), description="What is done to the documents, in this order.")
    output: OutputConfig = Field(description="Where the dataset goes, and how it is written.", examples=[{"uri": "s3://clean/quickstart"}])
    history: str | None = Field(
        default=None,
        min_length=1,
        description="Folder that runs share, a local path or an S3 URL: documents are compared with those that earlier runs kept, whose "
        "texts are not read, and the run leaves the keys of its own. Opened with output.storage_options. null: each run is for itself.",
        examples=["s3://clean/history"],
    )
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig, description="How the work is cut, and what happens to what fails.")
    cluster: ClusterConfig = Field(default_factory=LocalCluster, description="Where the work runs.")
    publish: PublishConfig | None = Field(
        default=None,
        description="Where a finished version is published: a dataset repo on the Hugging Face Hub. null: nowhere.",
        examples=[{"repo_id": "org/quickstart"}],
    )
    schedule: ScheduleConfig | None = Field(
        default=None, description="When `schedule` ingests; null: never.", examples=[{"cron": "0 3 * * *", "timezone": "Europe/Berlin"}]
    )
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="What `ingest` does with input files that changed or vanished.")
    submit: SubmitConfig = Field(default_factory=SubmitConfig, description="How `submit` hands the run to a cluster, by kind of cluster.")
    folder: Path = Field(default=Path(), exclude=True, repr=False)

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        names = [operator.name for operator in self.operators]
        problems = [
            *name_problems(names),
            *section_problems(self.input, self.output, self.cluster),
            *history_problems(self.history, self.operators, self.cluster),
            *learning_problems(self.operators),
            *publish_problems(self.publish, self.output.uri),
        ]
        if problems:
            raise ValueError("; ".join(f"{path_text(problem.path)}: {problem.message}" for problem in problems))
        return self

    @field_validator("operators")
    @classmethod
    def _named(cls, value: tuple[Operator, ...]) -> tuple[Operator, ...]:
        names = resolved_names([(operator.type, operator.name) for operator in value])
        return tuple(operator.named(name) for operator, name in zip(value, names, strict=True))

    def redacted(self) -> dict[str, Any]:
        """The pipeline as JSON-able data, in the order of the file, every default spelled out and every secret removed."""
        data = self.model_dump(mode="json")
        result = redact(data)
        assert isinstance(result, dict)
        settings = zip(self.operators, data["operators"], strict=True)
        return result | {"operators": [redact_settings(given, operator.by_kind) for operator, given in settings]}


def resolved_names(typed: list[tuple[str, str | None]]) -> list[str]:
    """Names of operators given as (type, name or None): the type where there is none, the second of a type `type-2`."""
    seen: dict[str, int] = {}
    names = []
    for kind, name in typed:
        seen[kind] = seen.get(kind, 0) + 1
        names.append(name or (kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"))
    return names


def name_problems(names: Sequence[str | None]) -> Iterator[Problem]:
    """Operators that share a name, or have the engine's own, under which neither could be counted."""
    first: dict[str | None, int] = {}
    for position, name in enumerate(names):
        if name is not None and (kept := RESERVED_NAME.fullmatch(name)):
            whose = "rows that could not be read" if kept["read"] else "documents that `shardmill takedown` took out"
            message = f"the name {name!r} is kept for {whose}; give the operator another `name`"
            yield Problem(("operators", position, "name"), message)
        if name in first:
            message = f"the name {shown(name)!r} is taken by operators[{first[name]}]; give one of them another `name`"
            yield Problem(("operators", position, "name"), message)
        first.setdefault(name, position)


def section_problems(
    source: InputConfig | None, target: OutputConfig | None, cluster: LocalCluster | RayCluster | InlineCluster | None
) -> Iterator[Problem]:
    """What is wrong between sections; those that are None could not be read and are left out."""
    if source is not None and target is not None:
        for position, uri in enumerate(source.uri):
            if reads_own_output(uri, target.uri):
                message = f"{uri} would read what the pipeline writes to output.uri ({target.uri}); keep the two apart"
                yield Problem(("input", "uri", position), message)
    if target is not None and cluster is not None and cluster.type != "inline" and scheme_of(target.uri) == "memory":
        message = f"{target.uri} is the memory of one process, but cluster.type {cluster.type} has several; use `cluster: {{type: inline}}`"
        yield Problem(("output", "uri"), message)


def history_problems(
    history: str | None, operators: Sequence[Operator], cluster: LocalCluster | RayCluster | InlineCluster | None
) -> Iterator[Problem]:
    """A history that cannot be shared, and operators that cannot keep keys in one."""
    if history is None:
        return
    for problem in _output_place_problems(history):
        yield Problem(("history",), problem.message)
    if cluster is not None and cluster.type != "inline" and scheme_of(history) == "memory":
        yield Problem(("history",), f"{history} is the memory of one process, but cluster.type {cluster.type} has several")
    for position, operator in enumerate(operators):
        yield from _forgetful(position, operator)


def learning_problems(operators: Sequence[Operator]) -> Iterator[Problem]:
    """Settings that name an operator that learns, but comes later or is that very one: nothing is learned yet where they need it."""
    from operators.base import LearningOperator  # noqa: PLC0415  brings pyarrow with it

    names = resolved_names([(operator.type, operator.name) for operator in operators])
    learners = {name: position for position, name in enumerate(names) if isinstance(operators[position], LearningOperator)}
    for position, operator in enumerate(operators):
        for setting in operator.learnable():
            name = getattr(operator, setting)
            if learners.get(name, -1) >= position:
                message = f"{shown(name)!r} is operators[{learners[name]}], which comes later; put it before this operator"
                yield Problem(("operators", position, setting), message)


def _forgetful(position: int, operator: Operator) -> Iterator[Problem]:
    from operators.base import GroupOperator  # noqa: PLC0415  brings pyarrow with it
    from operators.dedup import DedupOperator  # noqa: PLC0415
    from operators.passages import PassageOperator  # noqa: PLC0415

    if not isinstance(operator, GroupOperator) or isinstance(operator, PassageOperator):
        return
    if not isinstance(operator, DedupOperator):
        message = f"{operator.type} keeps no keys for later runs; with history use the project's own operators"
        yield Problem(("operators", position), message)
        return
    if operator.keep != "first":
        message = f"keep is {operator.keep!r}, but with history what earlier runs kept stays whatever comes later; keep 'first'"
        yield Problem(("operators", position, "keep"), message)
    if getattr(operator, "verify", "estimate") == "exact":
        message = "verify is 'exact', but with history the texts of earlier runs are not read; verify by 'estimate'"
        yield Problem(("operators", position, "verify"), message)


def _secret_problems(options: dict[str, Any], uri: str) -> Iterator[Problem]:
    for path in secret_paths(options):
        variable = variable_for(path[-1], uri)
        remedy = (
            f"set the environment variable {variable}"
            if variable
            else "use the environment or the credential files that the store's client reads"
        )
        yield Problem(
            ("storage_options", *path), f"{path[-1]!r} is a secret, and secrets come from the environment, never from here; {remedy}"
        )


def _repeated(values: tuple[str, ...], key: str) -> Iterator[Problem]:
    for position, value in enumerate(values):
        if value in values[:position]:
            yield Problem((key, position), f"{value!r} is there twice; name it once")


def _output_place_problems(uri: str) -> Iterator[Problem]:
    scheme = scheme_of(uri)
    if "::" in uri or scheme not in OUTPUT_SCHEMES:
        message = f"{uri} cannot be written exactly once by this build; expected a local path, file://, s3:// or (for tests) memory://"
        yield Problem(("uri",), message)
    elif is_pattern(uri):
        yield Problem(("uri",), f"{uri} is a pattern; expected one folder, without `*`, `?` or `[`")
    elif scheme == "" and re.match(r"(s3a?|file|memory|gs|gcs|hf|abfs|az|https?):/?[^/]", local_path(uri)):
        yield Problem(("uri",), f"{uri} looks like a URL that lacks a slash; write {uri.partition(':')[0]}://…")
