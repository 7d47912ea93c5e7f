"""Whether there is a Ray dashboard at an address, whether it lets us in, and which Ray it is: asked in seconds, without Ray.

Whether there is a token is settled before Ray is imported, which reads the environment then.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from importlib import metadata
from typing import Any, Final

from cluster import admission
from cluster.target import TargetError

REACH_SECONDS: Final = 10.0
NO_TOKEN, WRONG_TOKEN = 401, 403


def settle_auth(token_path: str | None = None) -> None:
    """Say explicitly in this process's environment whether there is a token.

    Raises:
        TargetError: There should be one, and there is none that can be read.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        admission.settle(token_path)
    except admission.TokenRefused as error:
        raise TargetError(str(error)) from error


def check_dashboard(address: str, token_path: str | None = None, *, check_version: bool = True) -> None:
    """See that a Ray of this machine's version answers at an address and accepts our token.

    Raises:
        TargetError: It does not; says which of these it is.
    """
    settle_auth(token_path)
    found = str(_version(address).get("ray_version", ""))
    here = metadata.version("ray")
    if check_version and _minor(found) != _minor(here):
        raise TargetError(
            f"{address}: the cluster runs Ray {found}, this machine has {here}; install the same (pip install 'ray[default]=={found}'), "
            "or set submit.ray.check_version: false"
        )


def _version(address: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{address}/api/version", headers=_headers())  # noqa: S310  http(s) by the settings
    try:
        with urllib.request.urlopen(request, timeout=REACH_SECONDS) as answer:  # noqa: S310
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise TargetError(_refusal(address, error.code)) from error
    except (OSError, urllib.error.URLError) as error:
        why = getattr(error, "reason", error)
        raise TargetError(
            f"{address}: nothing answers there ({why}); expected Ray's dashboard, which has the Jobs API: start the head with "
            "`ray start --head --include-dashboard=true`, or set submit.ray.address or RAY_API_SERVER_ADDRESS"
        ) from error
    except ValueError:
        found = None
    if not isinstance(found, dict) or "ray_version" not in found:
        raise TargetError(f"{address}: something answers there that is not Ray's dashboard; set submit.ray.address to http://HEAD:8265")
    return found


def _refusal(address: str, code: int) -> str:
    if code == NO_TOKEN:
        return f"{address}: the cluster wants a token, and none was given; {admission.REMEDY}"
    if code == WRONG_TOKEN:
        return f"{address}: the cluster refuses the token ({_source()}); {admission.REMEDY}"
    return f"{address}: something answers there that is not Ray's dashboard (HTTP {code}); set submit.ray.address to http://HEAD:8265"


def _headers() -> dict[str, str]:
    wanted = os.environ[admission.MODE].lower() == "token"
    return {"Authorization": f"Bearer {admission.token()}"} if wanted else {}


def _source() -> str:
    """Where the token came from that was refused."""
    if os.environ.get(admission.TOKEN):
        return f"that of {admission.TOKEN}"
    return f"that in {os.environ.get(admission.TOKEN_PATH) or '~/.ray/auth_token'}"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
