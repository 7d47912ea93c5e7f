"""Environment of the Hugging Face clients in tests: no Xet, no telemetry, no progress bars, a home of its own. They read it at import, so this comes first."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

FIXED = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
}


def settle() -> None:
    """Put the fixed variables and an empty HF_HOME into the environment of this process and of all that it starts.

    Raises:
        RuntimeError: The client was imported before, and has read another environment.
    """
    if "huggingface_hub.constants" in sys.modules:
        raise RuntimeError("huggingface_hub was imported before its environment was settled: import hub_environment first")
    home = tempfile.mkdtemp(prefix="shardmill-hf-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(FIXED, HF_HOME=home)
    os.environ.pop("HF_TOKEN", None)
