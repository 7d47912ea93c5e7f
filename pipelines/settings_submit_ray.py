"""The section `submit.ray` of a pipeline file: how a run is handed to Ray, by its Jobs API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipelines.config_sizes import PATTERN, parse_size
from pipelines.redaction import SECRET_VARIABLES, redact_uri
from pipelines.settings_section import Problem, Section

Bytes = Annotated[
    int,
    BeforeValidator(lambda value: parse_size(value, at_least=1)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": PATTERN}], "examples": ["4GiB"]}),
]


class RaySubmit(Section):
    """How `shardmill submit --to ray` hands a run over. None of it decides what a run makes."""

    address: str | None = Field(
        default=None,
        min_length=1,
        description="Address of the dashboard, which has the Jobs API. null: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS if it is an "
        "http address, else http://127.0.0.1:8265.",
        examples=["http://head:8265"],
    )
    token_path: str | None = Field(
        default=None, min_length=1, description="A file with the cluster's token; RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH go before it."
    )
    pip: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Packages that Ray installs for the job, as pip takes them; by default everything is in the image of the nodes.",
        examples=[["shardmill-extras==1.2"]],
    )
    python: str = Field(default="python", min_length=1, description="The Python that runs the driver on the cluster: a command or a path.")
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default_factory=dict,
        description="Plain settings for the driver's environment. Never a secret: those come from the environment of the cluster's nodes.",
        examples=[{"AWS_REGION": "eu-central-1"}],
    )
    restarts: int = Field(
        default=5, ge=0, le=1000, description="How often a driver that died is started again; `cluster.supervise` does so."
    )
    stop_seconds: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Time that `stop` leaves the driver to give back what it holds; Ray itself would give it 3 s.",
    )
    driver_cpus: float = Field(
        default=0,
        ge=0,
        le=4096,
        description="Cores that Ray keeps for the driver. With 0 it runs on the head; else where there is room, as with `driver_memory`.",
    )
    driver_memory: Bytes | None = Field(default=None, description="Memory that Ray keeps for the driver; null: none is set aside.")
    driver_resources: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="Custom resources that the driver's node must have.", examples=[{"stable_node": 0.01}]
    )
    check_version: bool = Field(
        default=True, description="Refuse a cluster whose Ray is another minor version than this machine's: their packages may not fit."
    )

    def problems(self) -> Iterator[Problem]:
        """An address that is not the Jobs API's, and secrets."""
        if self.address is not None and not self.address.startswith(("http://", "https://")):
            message = f"{self.address} is not the address of a dashboard; expected http://HEAD:8265 or https://…"
            yield Problem(("address",), message)
        elif self.address is not None and redact_uri(self.address) != self.address:
            yield Problem(("address",), "it holds a password; a token comes from the environment: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN")
        for name, value in self.environment.items():
            if any(word in name.upper() for word in SECRET_VARIABLES) or redact_uri(value) != value:
                message = (
                    f"{name} is a secret, which would stand in the job's description; set it in the environment of the cluster's nodes"
                )
                yield Problem(("environment", name), message)
        if self.python.strip() != self.python or "\n" in self.python:
            yield Problem(("python",), "expected a command or a path, such as python or /opt/venv/bin/python")
