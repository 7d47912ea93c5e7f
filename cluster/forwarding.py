"""Settings of the driver's environment that its workers get: those that are known to be no secrets.

Credentials are never among them, as a runtime environment is stored and shown by the cluster: workers have their own, from their
image, their node's role, or by reference from whoever starts them.
"""

from __future__ import annotations

import os
import re
from typing import Final

PREFIX: Final = "SHARDMILL_"
PLAIN: Final = (
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_MAX_ATTEMPTS",
    "AWS_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_RETRY_MODE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "GOOGLE_CLOUD_PROJECT",
    "HF_ENDPOINT",
    "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_OFFLINE",
)
"""Of other programs: where stores are and how they are talked to."""
SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY")
USERINFO: Final = re.compile(r"://[^/?#]*@")


def forwarded() -> dict[str, str]:
    """Names and values for the workers; never a credential, nor an address with one in it."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if (name in PLAIN or name.startswith(PREFIX)) and not SECRET.search(name) and not USERINFO.search(value)
    }
