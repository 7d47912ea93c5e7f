"""How a client for S3 is opened from fsspec's storage_options: s3fs reads the options, botocore makes the requests.

botocore's own client rather than s3fs's: its requests run on the threads that ask for them, without a hop to one event loop, a request
is sent exactly once (aiohttp silently repeats a PUT on a connection that was closed), and a store survives a fork.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError, shown

if TYPE_CHECKING:
    from s3fs import S3FileSystem

# What the checksums of new clients do to older stores: 411 or 501 at each upload. Also for pyarrow and s3fs in this process.
CHECKSUM_VARIABLES = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
CLIENT_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 64,
    "retries": {"total_max_attempts": 1, "mode": "standard"},  # the loop is ours; two loops multiply
    "tcp_keepalive": True,
}

_clients: dict[tuple[int, str], S3Client] = {}
_opening = threading.Lock()


class S3Client:
    """A botocore client, and the parameters that storage_options add to every request."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        # Here and not above: they take half a second, which a command that touches no bucket need not wait.
        import botocore.session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
        from s3fs import S3FileSystem  # noqa: PLC0415
        from s3fs.utils import ParamKwargsHelper  # noqa: PLC0415

        try:
            settings = S3FileSystem(**options, asynchronous=True, skip_instance_cache=True, use_listings_cache=False)
            session = botocore.session.Session(**settings.kwargs)
        except TypeError as error:
            raise ConfigError(f"storage_options: not understood by s3fs: {shown(error)}; see s3fs.S3FileSystem for the keys") from error
        self._client = session.create_client("s3", config=Config(**_config(settings)), **_credentials(settings))
        self._filter = ParamKwargsHelper(self._client)
        self._additions = {**settings.req_kw, **settings.s3_additional_kwargs}

    def call(self, method: str, **parameters: Any) -> Any:
        """One request, not repeated."""
        request = getattr(self._client, method)
        return request(**self._filter.filter_dict(method, self._additions), **parameters) if self._additions else request(**parameters)


def s3_client(options: Mapping[str, Any]) -> S3Client:
    """The client of this process for these options and the environment's credentials; opening one takes a tenth of a second."""
    for variable in CHECKSUM_VARIABLES:
        os.environ.setdefault(variable, "when_required")
    environment = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    key = (os.getpid(), json.dumps([options, environment], sort_keys=True, default=repr))
    with _opening:
        if key not in _clients:
            _clients[key] = S3Client(options)
        return _clients[key]


def _config(settings: S3FileSystem) -> dict[str, Any]:
    from botocore import UNSIGNED  # noqa: PLC0415

    config = {**CLIENT_DEFAULTS, **settings.config_kwargs}
    return {**config, "signature_version": UNSIGNED} if settings.anon else config


def _credentials(settings: S3FileSystem) -> dict[str, Any]:
    """What s3fs would pass to its own client."""
    given = {
        "aws_access_key_id": settings.key,
        "aws_secret_access_key": settings.secret,
        "aws_session_token": settings.token,
        "endpoint_url": settings.endpoint_url,
    }
    secret = () if not settings.anon else ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    merged = {"use_ssl": settings.use_ssl, **settings.client_kwargs, **{k: v for k, v in given.items() if v is not None}}
    return {name: value for name, value in merged.items() if name not in secret}
