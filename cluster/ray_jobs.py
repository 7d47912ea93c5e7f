"""Ray's Jobs API: a driver is handed over, followed and stopped by its submission id.

Before anything else the address is asked for its version, with a deadline and without Ray, so that a wrong address, a wrong token and a
wrong version are each said within seconds. The client is Ray's own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from cluster.ray_dashboard import check_dashboard
from cluster.shippable import PACKAGES
from cluster.staging import staged
from cluster.target import NOTHING_NEW, Job, JobState, JobStatus, Target, TargetError

LOCAL: Final = "http://127.0.0.1:8265"
REQUEST_SECONDS: Final = 60.0
RECONNECTS: Final = 20
"""How often in a row the log is asked for again when the connection breaks and the job goes on."""
RECONNECT_SECONDS: Final = 2.0
MAX_MESSAGE_CHARS: Final = 300
SIGNALS: Final = 128
TALKATIVE: Final = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
STATES: Final = {
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "STOPPED": JobState.STOPPED,
}


class RayJobs(Target):
    """A Ray cluster with a dashboard."""

    name: ClassVar[str] = "ray"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._address = _address(options.get("address"))
        self._connected: Any = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> RayJobs:
        """The cluster that a pipeline's section `submit.ray` describes."""
        return cls(options)

    @property
    def place(self) -> str:
        """The address of the dashboard."""
        return self._address

    def describe(self, job: Job) -> str:
        """JSON of what would be sent; asks nobody."""
        from ray._private.runtime_env.packaging import get_uri_for_directory  # noqa: PLC0415

        with staged(job.folder, job.files) as folder:
            sent = self._sent(job, get_uri_for_directory(str(folder), include_gitignore=True))
            num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        inside = {"files": list(job.files), "packages": sorted(PACKAGES), "bytes": num_bytes}
        return json.dumps({"address": self._address, **sent, "working_dir": inside}, indent=2, ensure_ascii=False)

    def submit(self, job: Job) -> bool:
        """Upload what the job needs, unless it is there, and start it."""
        client = self._client()
        with staged(job.folder, job.files) as folder, self._told():
            try:
                client.submit_job(**self._sent(job, str(folder)))
            except Exception:
                # It was there already, or the answer was lost: in both cases the cluster knows it now.
                if self.status(job.id).state is JobState.UNKNOWN:
                    raise
                return False
        return True

    def status(self, job_id: str) -> JobStatus:
        """See Target."""
        client = self._client()
        with self._told():
            try:
                info = client.get_job_info(job_id)
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return JobStatus(JobState.UNKNOWN)
                raise
        return _status(str(getattr(info.status, "value", info.status)), info.driver_exit_code, info.message or "")

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """See Target."""
        if self.status(job_id).state is JobState.UNKNOWN:
            raise TargetError(f"{self._address}: there is no job {job_id}; Ray forgets jobs when the cluster ends")
        return self._followed(job_id) if follow else iter(self._written(job_id))

    def stop(self, job_id: str) -> bool:
        """See Target. The driver has `stop_seconds` to end."""
        if self.status(job_id).state not in (JobState.PENDING, JobState.RUNNING):
            return False
        client = self._client()
        with self._told():
            return bool(client.stop_job(job_id))

    # --- what is sent

    def _sent(self, job: Job, working_dir: str) -> dict[str, Any]:
        """The arguments of `submit_job`. No secret is in them: the driver finds those in the environment of its node."""
        options = self._options
        # Read by Ray's own process for the job, which would kill the driver after 3 s; workers have it too, where it does nothing.
        runtime: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(options.get("stop_seconds", 60))}}
        if options.get("pip"):
            runtime["pip"] = list(options["pip"])
        driver = {
            "entrypoint_num_cpus": options.get("driver_cpus") or None,
            "entrypoint_memory": options.get("driver_memory"),
            "entrypoint_resources": options.get("driver_resources") or None,
        }
        return {
            "submission_id": job.id,
            "entrypoint": self._entrypoint(job),
            "runtime_env": {"working_dir": working_dir, **runtime},
            "metadata": {"pipeline": job.name, "made_by": "shardmill"},
            **{key: value for key, value in driver.items() if value is not None},
        }

    def _entrypoint(self, job: Job) -> str:
        """A line for a shell, which gives way to the supervisor, so that signals reach it."""
        plain = {**job.environment, **self._options.get("environment", {})}
        settings = [f"{name}={value}" for name, value in sorted(plain.items())]
        python = os.path.expanduser(self._options.get("python", "python"))  # noqa: PTH111  a command's name is no path
        supervised = [python, "-m", "cluster.supervise", "--restarts", str(self._options.get("restarts", 5))]
        supervised += ["--grace", str(self._options.get("stop_seconds", 60)), "--", "shardmill", *job.arguments]
        return shlex.join(["exec", *(["env", *settings] if settings else []), *supervised])

    # --- the connection

    def _client(self) -> Any:
        """Ray's client, connected.

        Raises:
            TargetError: There is no dashboard at the address, or it refuses us, or its Ray is another one.
        """
        if self._connected is None:
            check_dashboard(self._address, self._options.get("token_path"), check_version=bool(self._options.get("check_version", True)))
            with self._told(), _environment("RAY_API_SERVER_ADDRESS", self._address):
                self._connected = _client_class()(self._address)
        return self._connected

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of Ray's client as ours, in one line."""
        try:
            yield
        except TargetError:
            raise
        except OSError as error:  # those of `requests`, too
            raise TargetError(
                f"{self._address}: Ray's dashboard has stopped to answer ({type(error).__name__}); is the head still up? Try again: "
                "nothing is done twice. If it is gone, `shardmill status` of the output says how far the run came"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise TargetError(f"{self._address}: {_bounded(error)}") from error

    # --- logs

    def _written(self, job_id: str) -> list[str]:
        client = self._client()
        with self._told():
            return str(client.get_job_logs(job_id)).splitlines()

    def _followed(self, job_id: str) -> Iterator[str]:
        """Lines until the job ends. A connection that breaks, or a dashboard that is away, is tried again; it goes on where it was."""
        num_shown, broken = 0, 0
        while True:
            try:
                for number, line in enumerate(_lines(self._client().tail_job_logs, job_id)):
                    if number >= num_shown:
                        num_shown, broken = num_shown + 1, 0
                        yield line
                is_over = self.status(job_id).state.is_final
            except (RuntimeError, OSError, TargetError) as error:
                broken += 1
                if broken > RECONNECTS:
                    raise TargetError(f"{self._address}: the log cannot be followed: {_bounded(error)}") from error
                time.sleep(RECONNECT_SECONDS)
                continue
            if is_over:
                # What was written between the last look and the end.
                yield from self._written(job_id)[num_shown:] if broken else ()
                return


def _lines(tail: Callable[[str], Any], job_id: str) -> Iterator[str]:
    """Whole lines of an asynchronous log."""
    rest = ""
    with asyncio.Runner() as runner:
        chunks = tail(job_id)
        while (chunk := runner.run(_next(chunks))) is not None:
            *whole, rest = (rest + chunk).split("\n")
            yield from whole
    if rest:
        yield rest


async def _next(chunks: Any) -> str | None:
    try:
        return str(await anext(chunks))
    except StopAsyncIteration:
        return None


def _client_class() -> type[Any]:
    """Ray's client with a deadline for every request; it has none of its own."""
    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415  reads the environment when it is imported

    for name in TALKATIVE:  # their levels are set when they are imported
        logging.getLogger(name).setLevel(logging.WARNING)

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, *arguments: Any, **options: Any) -> Any:
            return super()._do_request(*arguments, **{"timeout": REQUEST_SECONDS, **options})

    return Client


def _address(given: str | None) -> str:
    found = given or os.environ.get("RAY_API_SERVER_ADDRESS")
    if not found and os.environ.get("RAY_ADDRESS", "").startswith(("http://", "https://")):
        found = os.environ["RAY_ADDRESS"]
    return (found or LOCAL).rstrip("/")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable for the time of the block: Ray's client prefers the environment to its argument."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _status(state: str, exit_code: int | None, message: str) -> JobStatus:
    found = STATES.get(state, JobState.UNKNOWN)
    code = exit_code if exit_code is None or exit_code >= 0 else SIGNALS - exit_code
    if found is JobState.FAILED and code == NOTHING_NEW:
        found = JobState.SUCCEEDED
    return JobStatus(found, code, _bounded(message))


def _bounded(found: object) -> str:
    """The first line of what Ray says; the last one of a traceback, and of the end of a driver's log."""
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    if not lines:
        return type(found).__name__ if isinstance(found, Exception) else ""
    line = lines[-1] if any(mark in str(found) for mark in ("Traceback", "last available logs")) else lines[0]
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"
