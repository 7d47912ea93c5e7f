"""Whether there is a Ray dashboard at an address, whether it lets us in, and which Ray it is: asked in seconds, without Ray.

`RAY_AUTH_MODE` is settled here before Ray is imported, which reads it then.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from cluster.target import TargetError

REACH_SECONDS: Final = 10.0
TOKEN_FILE: Final = "~/.ray/auth_token"  # noqa: S105  where Ray keeps one
UNKNOWN_TOKEN, WRONG_TOKEN = 401, 403
TOKEN_REMEDY: Final = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"  # noqa: S105


def settle_auth() -> None:
    """Say explicitly whether there is a token: Ray otherwise decides by what it finds in the home folder."""
    os.environ.setdefault("RAY_AUTH_MODE", "token" if _given() else "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def check_dashboard(address: str, *, check_version: bool = True) -> None:
    """See that a Ray of this machine's version answers at an address and accepts our token.

    Raises:
        TargetError: It does not; says which of these it is.
    """
    found = str(_version(address).get("ray_version", ""))
    here = metadata.version("ray")
    if check_version and _minor(found) != _minor(here):
        raise TargetError(
            f"{address}: the cluster runs Ray {found}, this machine has {here}; install the same (pip install 'ray[default]=={found}'), "
            "or set submit.ray.check_version: false"
        )


def _version(address: str) -> dict[str, Any]:
    settle_auth()
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
    if code == UNKNOWN_TOKEN:
        return f"{address}: the cluster wants a token, and none was given; {TOKEN_REMEDY}"
    if code == WRONG_TOKEN:
        return f"{address}: the cluster refuses the token ({_source()}); {TOKEN_REMEDY}"
    return f"{address}: something answers there that is not Ray's dashboard (HTTP {code}); set submit.ray.address to http://HEAD:8265"


def _headers() -> dict[str, str]:
    token = _token() if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" else ""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _given() -> bool:
    return bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))


def _token() -> str:
    """The token where Ray looks for it: the variable, the file that is named, the file in the home folder."""
    if value := os.environ.get("RAY_AUTH_TOKEN"):
        return value.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE).expanduser()
    try:
        return path.read_text().strip()
    except OSError as error:
        if os.environ.get("RAY_AUTH_TOKEN_PATH"):
            raise TargetError(f"RAY_AUTH_TOKEN_PATH: {path} cannot be read: {error.strerror}; {TOKEN_REMEDY}") from error
        return ""


def _source() -> str:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "that of RAY_AUTH_TOKEN"
    return f"that of {os.environ.get('RAY_AUTH_TOKEN_PATH') or TOKEN_FILE}"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
