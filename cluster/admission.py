"""Whether a cluster answers and takes our token, found out in a moment: Ray itself tries for half a minute, and then does not say why.

`RAY_AUTH_MODE` is always set explicitly: Ray 2.60 otherwise decides by what it finds in the home folder, and nodes then disagree. No
message ever holds a token.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
REACH_SECONDS: Final = 10.0
ASK_GCS: Final = "/ray.rpc.NodeInfoGcsService/GetClusterId"
ASK_CLIENT: Final = "/ray.rpc.RayletDriver/ClusterInfo"
REMEDY: Final = (
    "give the cluster's own: RAY_AUTH_TOKEN_PATH or cluster.token_path names a file with it (on the head that is ~/.ray/auth_token, unless "
    "it was started with another), or RAY_AUTH_TOKEN holds it"
)


class TokenRefused(ConnectionError):
    """The cluster wants a token, and has not been given the right one."""


def settle(token_path: str | None) -> None:
    """Say explicitly in this process's environment whether there is a token; the environment goes before the setting.

    Raises:
        TokenRefused: There should be one, and there is none that can be read.
    """
    if token_path is not None and not os.environ.get(TOKEN) and not os.environ.get(TOKEN_PATH):
        os.environ[TOKEN_PATH] = str(Path(token_path).expanduser())
    given = os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH)
    if not os.environ.get(MODE):
        os.environ[MODE] = "token" if given else "disabled"
    if os.environ[MODE].lower() == "token":
        token()


def token() -> str:
    """The token that Ray will use.

    Raises:
        TokenRefused: There is none.
    """
    if found := os.environ.get(TOKEN, "").strip():
        return found
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise TokenRefused(f"no token: {path}: {why}; {REMEDY}; or set RAY_AUTH_MODE=disabled for a cluster without") from None
    if not found:
        raise TokenRefused(f"no token: {path} is empty; {REMEDY}")
    return found


def check(address: str) -> None:
    """See that somebody answers at an address and takes the token.

    Raises:
        ConnectionError: Nothing answers.
        TokenRefused: The token is missing or wrong.
    """
    place = _place(address)
    if place is None:
        return
    host, port = place
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers at {address}: {error}") from error
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return  # Ray's own certificates, which only Ray knows how to use
    if os.environ[MODE].lower() not in ("token", "disabled"):
        return  # another kind of credential, which only Ray knows how to show
    _ask(f"{host}:{port}", ASK_CLIENT if address.startswith("ray://") else ASK_GCS)


def _ask(place: str, method: str) -> None:
    """Put a question that changes nothing. Only a refusal of the token counts: everything else Ray itself will say."""
    import grpc  # noqa: PLC0415  comes with Ray, and is only needed here

    wanted = os.environ[MODE].lower() == "token"
    metadata = [("authorization", f"Bearer {token()}")] if wanted else []
    with grpc.insecure_channel(place) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=REACH_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                found = "it refuses the token that it was given" if wanted else "it wants a token, and none was given"
                raise TokenRefused(f"{found}; {REMEDY}") from None


def _place(address: str) -> tuple[str, int] | None:
    """Host and port of an address; of `auto` those that Ray will find, None where it must look itself."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or _started_here()
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


def _started_here() -> str:
    """The address of the cluster that was last started on this machine, as Ray writes it down."""
    try:
        return (Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()  # noqa: S108
    except (OSError, UnicodeDecodeError):
        return ""
