"""Waits until every node of a Slurm job has joined its Ray.

    python -m cluster.slurm_joined --address HEAD --nodes N --seconds S

Exit status 0: all are there; 1: not in time, and standard error says which are.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

LOOK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for the nodes."""
    parser = argparse.ArgumentParser(prog="python -m cluster.slurm_joined", description="Wait until the nodes have joined Ray.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.seconds
    import ray  # noqa: PLC0415  the arguments are checked first

    try:
        ray.init(address=options.address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        _say(f"the head of Ray does not answer at {options.address}: {str(error).strip().splitlines()[0][:300]}")
        return 1
    try:
        while len(there := _alive(ray.nodes())) < options.nodes:
            if time.monotonic() > deadline:
                _say(
                    f"after {options.seconds:.0f} s {len(there)} of {options.nodes} nodes have joined Ray: {', '.join(there)}; the others"
                    f" cannot reach {options.address}, or are slow: look at their lines above, or raise submit.slurm.start_seconds"
                )
                return 1
            time.sleep(LOOK_SECONDS)
    finally:
        ray.shutdown()
    _say(f"Ray is up on {len(there)} node{'s' if len(there) > 1 else ''}")
    return 0


def _alive(nodes: Sequence[dict[str, object]]) -> list[str]:
    return sorted(str(node["NodeManagerHostname"]) for node in nodes if node["Alive"])


def _say(message: str) -> None:
    print(f"slurm: {message}", file=sys.stderr, flush=True)  # noqa: T201  the log of the job


if __name__ == "__main__":
    sys.exit(main())
