"""How fast training is: tokens, floating point operations and waiting, between two rows of metrics."""

from __future__ import annotations

import resource
import sys
import time

import jax

PEAK_TFLOPS = {  # dense bfloat16 of one device, by a part of its `device_kind`; from the vendors' data sheets
    "H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0, "TPU v4": 275.0, "TPU v5 lite": 197.0, "TPU v5e": 197.0,
    "TPU v5p": 459.0, "TPU v5": 459.0, "TPU v6 lite": 918.0, "TPU v6e": 918.0,
}  # fmt: skip


def peak_tflops(kind: str) -> float | None:
    """The peak of a device of this kind; None where it is not known (a CPU)."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name.lower() in kind.lower()), None)


class Throughput:
    """Adds up between two readings; all names begin with "time/", for they differ between equal runs."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._tokens = self._flops = self._waited = 0.0

    def add(self, tokens: int, waited: float, flops: float) -> None:
        """One step of this process: its tokens, seconds it waited for input, and operations."""
        self._tokens += tokens
        self._waited += waited
        self._flops += flops

    def read(self) -> dict[str, float]:
        """The numbers since the last reading, as scalars; per process where there are several."""
        now = time.monotonic()
        seconds = max(now - self._begin, 1e-9)
        found = {
            "time/tokens_per_s": self._tokens / seconds,
            "time/input_wait_s": self._waited,
            "time/input_wait_share": self._waited / seconds,
            "time/memory_gib": memory_gib(),
        }
        if self._flops:
            found["time/tflops_per_s"] = self._flops / seconds / 1e12
            peak = peak_tflops(jax.local_devices()[0].device_kind)
            if peak is not None:
                found["time/flop_utilisation"] = found["time/tflops_per_s"] / (peak * jax.local_device_count())
        self._begin = now
        self._tokens = self._flops = self._waited = 0.0
        return found


def memory_gib() -> float:
    """The most memory in use so far: of the first device where it says so, else of the process."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform != "darwin" else 2**30)
