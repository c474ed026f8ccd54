"""The devices that a plan can be made for."""

from __future__ import annotations

import dataclasses
import re

from mmssr_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class DeviceKind:
    """One chip, GPU or core.

    Attributes:
      tflops: peak of dense bfloat16 products, in 10^12 FLOPs a second; None where it is not published.
      memory_gib: its memory; None for cores, which share one.
      source: where the numbers are published.
    """

    tflops: float | None
    memory_gib: float | None
    source: str


_TPU = "https://cloud.google.com/tpu/docs/{}"
_GPU = "NVIDIA's data sheet of the {}, without sparsity"
KINDS = {
    "v4": DeviceKind(275, 32, _TPU.format("v4")),
    "v5e": DeviceKind(197, 16, _TPU.format("v5e")),
    "v5p": DeviceKind(459, 95, _TPU.format("v5p")),
    "v6e": DeviceKind(918, 32, _TPU.format("v6e")),
    "a100": DeviceKind(312, 80, _GPU.format("A100 80 GB")),
    "l4": DeviceKind(121, 24, _GPU.format("L4")),
    "h100": DeviceKind(989, 80, _GPU.format("H100 SXM")),
    "h200": DeviceKind(989, 141, _GPU.format("H200 SXM")),
    "cpu": DeviceKind(None, None, "a trial run"),
}


@dataclasses.dataclass(frozen=True)
class Devices:
    """A number of devices of one kind."""

    name: str
    count: int

    @property
    def kind(self) -> DeviceKind:
        """The specification of one device."""
        return KINDS[self.name]

    def __str__(self) -> str:
        return f"{self.count} x {self.name}"


def parse_devices(text: str) -> Devices:
    """`v5e-256`, `h100:8` or `cpu:2` as devices.

    Raises:
      UserError: it has another form, or the kind is not known.
    """
    match = re.fullmatch(r"(\w+)[-:](\d+)", text)
    if match is None or match[1] not in KINDS or not int(match[2]):
        kinds = ", ".join(KINDS)
        raise UserError(f"config.plan.devices={text}: expected a kind and a number, such as v5e-256; kinds are {kinds}")
    return Devices(match[1], int(match[2]))
