"""Training throughput between two log steps: tokens and FLOPs per second, time spent waiting for input, memory."""

from __future__ import annotations

import time

import jax

from mmssr_jax.core.memory import peak_mib

PEAK_TFLOPS = {  # dense bfloat16, by a substring of `device_kind`; from the vendors' data sheets
    "H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0, "TPU v4": 275.0, "TPU v5 lite": 197.0, "TPU v5e": 197.0,
    "TPU v5p": 459.0, "TPU v5": 459.0, "TPU v6 lite": 918.0, "TPU v6e": 918.0,
}  # fmt: skip


def peak_tflops(kind: str) -> float | None:
    """Peak TFLOP/s of a device kind; None if unknown (e.g. a CPU)."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name.lower() in kind.lower()), None)


class Throughput:
    """Accumulates between two reads; all metric names start with "time/", because they differ between equal runs."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._tokens = self._flops = self._input_wait = 0.0

    def add(self, *, tokens: int, input_wait: float, flops: float) -> None:
        """Adds one step of this process: its tokens, the seconds it waited for input, and its FLOPs."""
        self._tokens += tokens
        self._input_wait += input_wait
        self._flops += flops

    def read(self) -> dict[str, float]:
        """Scalars since the last read, of this process; resets the counters."""
        now = time.monotonic()
        seconds = max(now - self._start, 1e-9)
        scalars = {
            "time/seconds": seconds,
            "time/tokens_per_s": self._tokens / seconds,
            "time/input_wait_s": self._input_wait,
            "time/input_wait_share": self._input_wait / seconds,
            "time/memory_gib": memory_gib(),
        }
        if self._flops:
            scalars["time/tflops_per_s"] = self._flops / seconds / 1e12
            peak = peak_tflops(jax.local_devices()[0].device_kind)
            if peak is not None:
                scalars["time/flop_utilisation"] = scalars["time/tflops_per_s"] / (peak * jax.local_device_count())
        self._start = now
        self._tokens = self._flops = self._input_wait = 0.0
        return scalars


def memory_gib() -> float:
    """Peak memory so far: of the first device if its backend reports it, else of the process."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**30
    return peak_mib() / 2**10
