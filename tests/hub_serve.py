"""A Hub on this machine, for trying what docs/tutorial.md tells without an account: `python tests/hub_serve.py`, until it is stopped."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from pathlib import Path

from hub_server import Hub


def main() -> None:
    """Serve a Hub with the organization `org`; prints the variables by which clients find it."""
    with tempfile.TemporaryDirectory(prefix="shardmill-hub-") as home, Hub(Path(home)) as hub:
        sys.stdout.write(f"export HF_ENDPOINT={hub.endpoint}\nexport HF_TOKEN={hub.token()}\n")
        sys.stdout.write("export HF_HUB_DISABLE_XET=1\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
