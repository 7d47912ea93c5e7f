"""The section `submit.slurm` of a pipeline file: how a run is handed to Slurm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipelines.config_sizes import PATTERN, parse_size
from pipelines.settings_section import Problem, Section

MIB: Final = 1 << 20
MIN_OBJECT_STORE: Final = 80 * MIB
"""Ray takes none below 75 MiB."""
NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.,:@+-]*$"
TIME: Final = r"^([0-9]+|[0-9]+:[0-9]{1,2}(:[0-9]{1,2})?|[0-9]+-[0-9]{1,2}(:[0-9]{1,2}){0,2})$"
OPTION: Final = re.compile(r"--([a-z][a-z0-9-]*)(=[A-Za-z0-9_.,:;@%+=/*&|()\[\]!~^-]+)?")
SET: Final = {
    **{name: name.replace("-", "_") for name in ("account", "cpus-per-task", "export", "gres", "mem", "nodes", "partition", "qos", "time")},
    "output": "folder",
    "error": "folder",
    "requeue": "requeues",
    "no-requeue": "requeues",
}
"""Options of sbatch that have a key of their own."""
TAKEN: Final = (
    *(
        "array",
        "dependency",
        "export-file",
        "get-user-env",
        "help",
        "input",
        "job-name",
        "ntasks",
        "ntasks-per-node",
        "open-mode",
        "parsable",
    ),
    *("quiet", "signal", "test-only", "usage", "version", "wait", "wrap", "kill-on-invalid-dep", "no-kill", "cpus-per-gpu", "hold"),
)
"""Options of sbatch that the script sets itself, or that would break it."""
ObjectStoreBytes = Annotated[
    int,
    BeforeValidator(lambda value: parse_size(value, at_least=MIN_OBJECT_STORE)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": MIN_OBJECT_STORE}, {"type": "string", "pattern": PATTERN}]}),
]
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class SlurmSubmit(Section):
    """How `shardmill submit --to slurm` hands a run over. None of it decides what a run makes."""

    partition: str | None = Field(default=None, pattern=NAME, description="Partition, or several with commas; null: the site's default.")
    account: str | None = Field(default=None, pattern=NAME, description="Account that pays for the time; null: yours.")
    qos: str | None = Field(default=None, pattern=NAME, description="Quality of service; null: the site's default.")
    time: str | None = Field(
        default=None,
        pattern=TIME,
        description="Time limit as Slurm writes it; near its end the run is queued again and goes on. null: the partition's.",
        examples=["90", "12:00:00", "2-00:00:00"],
    )
    nodes: int = Field(default=1, ge=1, le=10_000, description="Nodes of the job; the first one also runs the driver.")
    cpus_per_task: int | None = Field(default=None, ge=1, le=4096, description="CPUs on each node; null: whole nodes (--exclusive).")
    mem: str | None = Field(
        default=None,
        pattern=r"^[0-9]+[KMGT]?$",
        description="Memory on each node; 0: all of it. null: the site's default.",
        examples=["64G"],
    )
    gres: str | None = Field(
        default=None, pattern=NAME, description="Generic resources on each node; null: none.", examples=["gpu:1", "lustre:1"]
    )
    sbatch_options: tuple[str, ...] = Field(
        default=(), description="More options of sbatch, each as --name or --name=value.", examples=[["--constraint=skylake", "--nice=100"]]
    )
    setup: tuple[Text, ...] = Field(
        default=(),
        description="Lines of shell that make shardmill available on a node, run before anything else.",
        examples=[["module load python/3.12", "source /shared/shardmill/.venv/bin/activate"]],
    )
    python: Text | None = Field(
        default=None,
        description="Python that has shardmill installed, at the same path on every node or found on PATH; null: the one that submits.",
        examples=["python", "/shared/shardmill/.venv/bin/python"],
    )
    folder: Text = Field(
        default="~/.shardmill/slurm",
        description="Folder that all nodes share; each job gets one in it for its script, log and exit status.",
    )
    temp_folder: Text = Field(
        default="/tmp",  # noqa: S108  a folder of the job's own is made in it
        max_length=20,
        json_schema_extra={"pattern": "^/"},
        description="Folder on each node's own disk; short, since Ray keeps sockets in it, whose paths have at most 107 characters.",
    )
    export: Literal["all"] | tuple[Variable, ...] = Field(
        default="all",
        description="Environment variables of the submitter that the job gets, by Slurm's own --export: all, or a list of names.",
        examples=["all", ["AWS_PROFILE", "HF_TOKEN"]],
    )
    restarts: int = Field(default=5, ge=0, le=100, description="How often a driver that died is started again in the same job.")
    requeues: int = Field(
        default=10, ge=0, le=1000, description="How often the job is queued again after a lost node or at its time limit."
    )
    start_seconds: int = Field(default=300, ge=10, le=86400, description="Time that the nodes have to start Ray and join, in seconds.")
    object_store_memory: ObjectStoreBytes = Field(
        default=256 * MIB,
        examples=["256MiB"],
        description="Ray's object store on each node, in shared memory; small, as documents go through the storage.",
    )

    def problems(self) -> Iterator[Problem]:
        """Options of sbatch that are none, or are not to be given here."""
        for number, option in enumerate(self.sbatch_options):
            message = _wrong(option)
            if message is not None:
                yield Problem(("sbatch_options", number), message)
        if self.temp_folder[:1] != "/":
            yield Problem(("temp_folder",), f"found {self.temp_folder!r}, expected a path from the root, like /tmp")


def _wrong(option: str) -> str | None:
    found = OPTION.fullmatch(option)
    if found is None:
        return f"found {option[:80]!r}, expected --name or --name=value of sbatch, without spaces and quotes"
    if found[1] in SET:
        return f"--{found[1]} is set by submit.slurm.{SET[found[1]]}"
    return f"--{found[1]} cannot be given: the script depends on what it sets itself" if found[1] in TAKEN else None
