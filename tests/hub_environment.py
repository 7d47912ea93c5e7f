"""Environment of the Hugging Face clients in tests: no Xet, no telemetry, a home of their own.

They read it when they are imported, so this comes first.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile

FIXED = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "DO_NOT_TRACK": "1",
}
NOWHERE = "http://127.0.0.1:9"
# For processes of their own: whatever they ask of another machine fails at once, and they draw no progress bars.
ALONE = {
    **dict.fromkeys(("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"), "1"),
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
}


def settle() -> None:
    """Put the fixed variables and an empty HF_HOME into the environment of this process and of all that it starts.

    A client that is told no endpoint asks nobody: no test reaches the real Hub, whichever imports the client first.

    Raises:
        RuntimeError: The client was imported before, and has read another environment.
    """
    if "huggingface_hub.constants" in sys.modules:
        raise RuntimeError("huggingface_hub was imported before its environment was settled: import hub_environment first")
    home = tempfile.mkdtemp(prefix="shardmill-hf-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(FIXED, HF_HOME=home, HF_ENDPOINT=NOWHERE)
    os.environ.pop("HF_TOKEN", None)
    importlib.import_module("huggingface_hub.constants")
