"""Which Hub is meant: the address in HF_ENDPOINT, read when it is needed.

The client of the Hub reads it once, when it is imported, and takes anything for an address. Knows nothing of repos.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

from pipelines.errors import ConfigError, shown
from pipelines.redaction import redact_uri

VARIABLE: Final = "HF_ENDPOINT"
THE_HUB: Final = "https://huggingface.co"


def hub_endpoint(given: str | None = None) -> str:
    """The Hub's address, without a slash at its end: the one that is given, or the environment's, or that of the Hub itself.

    Raises:
        ConfigError: It is no address.
    """
    found = (given or os.environ.get(VARIABLE) or "").strip().rstrip("/") or THE_HUB
    if urlsplit(found).scheme not in ("http", "https") or not urlsplit(found).netloc:
        raise ConfigError(f"{VARIABLE}: found {shown(redact_uri(found))!r}, expected an address such as {THE_HUB}; correct it, or unset it")
    return found
