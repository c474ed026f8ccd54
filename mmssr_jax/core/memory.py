"""Memory of this process."""

from __future__ import annotations

import resource
import sys


def peak_mib() -> float:
    """Peak resident memory so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**10 if sys.platform != "darwin" else 2**20)
