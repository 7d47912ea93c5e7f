"""The section `submit.kuberay` of a pipeline file: how a run is handed to Kubernetes with KubeRay.

Owns its keys and their rules. Nothing of it decides what a run makes, so that it is in no fingerprint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipelines.config_sizes import PATTERN, parse_size
from pipelines.errors import shown
from pipelines.redaction import is_secret_name, redact_uri
from pipelines.settings_section import Problem, Section

GIB: Final = 1024**3
MIN_MEMORY: Final = 256 * 1024**2
Memory = Annotated[
    int,
    BeforeValidator(lambda value: parse_size(value, at_least=MIN_MEMORY)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": MIN_MEMORY}, {"type": "string", "pattern": PATTERN}]}),
]
_LABEL_PATTERN: Final = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
_VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.-]{0,252}$"
_OBJECT_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_KEY_PATTERN: Final = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_VALUE_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
_DATA_KEY_PATTERN: Final = r"^[-._a-zA-Z0-9]{1,253}$"

GroupName = Annotated[str, Field(pattern=_LABEL_PATTERN)]
Variable = Annotated[str, Field(pattern=_VARIABLE_PATTERN)]
VariableValue = Annotated[str, Field(pattern=r"^[^\x00]*$")]
ObjectName = Annotated[str, Field(pattern=_OBJECT_PATTERN)]
LabelKey = Annotated[str, Field(pattern=_KEY_PATTERN)]
LabelValue = Annotated[str, Field(pattern=_VALUE_PATTERN)]
_PLACE: Final = re.compile(r".*_(FILE|PATH|DIR|URL)", re.ASCII | re.IGNORECASE)


class KubeSecretVariable(Section):
    """A variable whose value a Secret of the cluster holds."""

    variable: Variable = Field(description="Name of the variable.")
    name: ObjectName = Field(description="Name of the Secret.")
    key: str = Field(pattern=_DATA_KEY_PATTERN, description="Key in it.")


class KubeToleration(Section):
    """A taint of nodes that pods put up with."""

    key: LabelKey | None = Field(default=None, description="Key of the taint; null: all keys.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="Equal: `value` must be the taint's.")
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; null: all."
    )
    seconds: int | None = Field(default=None, ge=0, description="For how long a pod stays on a node with NoExecute; null: for ever.")

    def problems(self) -> Iterator[Problem]:
        """What Kubernetes would refuse."""
        if self.value is not None and self.operator == "Exists":
            yield Problem(("value",), "a value goes with `operator: Equal`; with Exists there is none")
        if self.key is None and self.operator == "Equal":
            yield Problem(("operator",), "Equal needs a `key`; without one write Exists, which tolerates every taint")
        if self.seconds is not None and self.effect != "NoExecute":
            yield Problem(("seconds",), "it goes with `effect: NoExecute` alone")


class KubePods(Section):
    """What the pods of a group may use, and where they run."""

    cpu: float = Field(default=4, ge=0.1, le=1024, description="Cores that each pod asks for.")
    memory: Memory = Field(default=16 * GIB, description="Memory that each pod asks for, and is ended above.", examples=["16GiB"])
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Labels of the nodes that may be used.")
    tolerations: list[KubeToleration] = Field(default_factory=list, description="Taints of nodes that are put up with.")


class KubeHead(KubePods):
    """The head: Ray's own services and the driver."""

    cpu: float = Field(default=2, ge=0.1, le=1024, description="Cores that the head asks for.")
    memory: Memory = Field(default=8 * GIB, description="Memory that the head asks for, and is ended above.", examples=["8GiB"])


class KubeWorkers(KubePods):
    """A group of workers that are alike."""

    name: GroupName = Field(default="workers", description="Of the group: a lower-case letter, then letters, digits and `-`.")
    replicas: int = Field(default=2, ge=0, le=10_000, description="Workers to begin with.")
    min_replicas: int | None = Field(default=None, ge=0, le=10_000, description="Never fewer; null: `replicas`.")
    max_replicas: int | None = Field(
        default=None, ge=0, le=10_000, description="Never more; null: `replicas`. Above the least, Ray's autoscaler is turned on."
    )

    def problems(self) -> Iterator[Problem]:
        """Bounds that do not fit."""
        if self.min_replicas is not None and self.min_replicas > self.replicas:
            yield Problem(("min_replicas",), f"min_replicas ({self.min_replicas}) is above replicas ({self.replicas})")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            yield Problem(("max_replicas",), f"max_replicas ({self.max_replicas}) is below replicas ({self.replicas})")


class KubeRaySubmit(Section):
    """How `shardmill submit --to kuberay` hands a run over. None of it decides what a run makes."""

    image: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^[^\s]+$",
        description="Image that holds shardmill and its dependencies (docs/clusters.md tells how to build one); needed to submit.",
        examples=["registry.example.org/shardmill:0.1.0"],
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When nodes fetch the image; null: as Kubernetes decides by its tag."
    )
    image_pull_secrets: list[ObjectName] = Field(default_factory=list, description="Secrets with which nodes fetch the image.")
    namespace: GroupName = Field(default="default", description="Namespace of everything that is made.")
    service_account: ObjectName | None = Field(
        default=None,
        description="Service account of head and workers, by which stores may know them (workload identity); null: the namespace's own.",
    )
    head: KubeHead = Field(default_factory=KubeHead, description="The head: Ray's own services and the driver.")
    workers: list[KubeWorkers] = Field(default_factory=lambda: [KubeWorkers()], description="Groups of workers.")
    env: dict[Variable, VariableValue] = Field(
        default_factory=dict,
        description="Variables of the environment of head and workers; never a secret.",
        examples=[{"AWS_REGION": "eu"}],
    )
    env_from: list[ObjectName] = Field(
        default_factory=list, description="Secrets whose every key becomes a variable of head and workers.", examples=[["s3-credentials"]]
    )
    secret_env: list[KubeSecretVariable] = Field(
        default_factory=list,
        description="Variables whose values are in Secrets.",
        examples=[[{"variable": "HF_TOKEN", "name": "hub", "key": "token"}]],
    )
    run_as_user: int | None = Field(
        default=1000, ge=1, le=2**31 - 1, description="User id in the pods; null: the image's own, which may not be root."
    )
    priority_class: ObjectName | None = Field(default=None, description="Priority class of the pods.")
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Labels of everything that is made, such as a queue's.")
    annotations: dict[LabelKey, str] = Field(default_factory=dict, description="Annotations of everything that is made.")
    restarts: int = Field(default=5, ge=0, le=1000, description="How often a driver that was killed is started again, on the same cluster.")
    backoff_limit: int = Field(default=2, ge=0, le=1000, description="How often a job that failed is tried again, on a new cluster.")
    ttl_seconds: int = Field(default=300, ge=0, le=30 * 86_400, description="For how many seconds the cluster stays when the job is over.")
    deadline_seconds: int | None = Field(default=None, ge=1, description="Seconds after which the job is ended; null: never.")
    submission_mode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"] = Field(
        default="K8sJobMode",
        description="How KubeRay hands the driver to Ray: by a pod of its own, by HTTP (no logs), or from the head's pod.",
    )
    auth: Literal["token", "disabled"] = Field(default="token", description="token: only who has the cluster's token may use its Ray.")
    auth_secret: ObjectName | None = Field(default=None, description="Secret that holds the token; null: KubeRay makes one.")
    ray_version: str | None = Field(
        default=None, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", description="Ray in the image; null: the version beside this command."
    )
    folder_in_image: str | None = Field(
        default=None, pattern=r"^/[^\x00]*$", description="Where the pipeline's folder is in the image; null: it goes along, up to 1 MiB."
    )
    working_dir: str | None = Field(
        default=None,
        pattern=r"^(https|s3|gs|azure|abfss)://[^\s]+\.zip$",
        description="The pipeline's folder as a zip file that Ray fetches; null: it goes along.",
        examples=["s3://code/fineweb.zip"],
    )
    cronjob: Literal["kubernetes", "ray", "none"] = Field(
        default="kubernetes",
        description="What a `schedule` becomes. kubernetes: a CronJob that submits an ingestion at each tick; ray: KubeRay's RayCronJob "
        "(alpha; its feature gate must be on), which starts a cluster at each tick, even when there is nothing new; none: nothing.",
    )
    scheduler_service_account: ObjectName | None = Field(
        default=None, description="Service account of the CronJob, which makes jobs; null: one is made that may do that and nothing else."
    )
    api_server: str | None = Field(
        default=None,
        pattern=r"^http://[^\s/@]+/?$",
        description="Address of a `kubectl proxy`; null: in a pod that of its cluster, elsewhere a proxy is started while it is needed.",
        examples=["http://127.0.0.1:8001"],
    )
    context: str | None = Field(default=None, min_length=1, description="Context of kubectl's configuration; null: the current one.")

    def problems(self) -> Iterator[Problem]:
        """What is secret, given twice, or does not go together."""
        by_reference = Counter(entry.variable for entry in self.secret_env)
        for name, value in self.env.items():
            if is_secret_name(name) and not _PLACE.fullmatch(name):
                message = (
                    f"{shown(name)!r} is a secret, and secrets reach a cluster by reference; name where it is in `secret_env` or `env_from`"
                )
                yield Problem(("env", name), message)
            elif redact_uri(value) != value:
                yield Problem(
                    ("env", name), f"the value of {shown(name)!r} holds a password or a signature; name where it is in `secret_env`"
                )
            if name in by_reference:
                yield Problem(("env", name), f"{shown(name)!r} stands in `secret_env`, too; remove one of them")
        for name, times in by_reference.items():
            if times > 1:
                yield Problem(("secret_env",), f"{shown(name)!r} stands there {times} times; keep one of them")
        for name, times in Counter(group.name for group in self.workers).items():
            if times > 1:
                yield Problem(("workers",), f"{times} groups of workers are called {name!r}; give each a `name` of its own")
        if self.folder_in_image is not None and self.working_dir is not None:
            yield Problem(("working_dir",), "`folder_in_image` says where the folder is, too; remove one of them")
        if self.working_dir is not None and redact_uri(self.working_dir) != self.working_dir:
            yield Problem(("working_dir",), "it holds a password or a signature; give the pods rights of their own (`env_from`)")
        if self.auth == "disabled" and self.auth_secret is not None:
            yield Problem(("auth_secret",), "with `auth: disabled` there is no token; remove it, or write `auth: token`")
