import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.planning.devices import parse_devices


@pytest.mark.parametrize(
    ("text", "name", "count", "memory"),
    [("v5e-256", "v5e", 256, 16), ("h100:8", "h100", 8, 80), ("cpu:2", "cpu", 2, None), ("v5p-8", "v5p", 8, 95)],
)
def test_a_number_of_devices_of_a_kind(text, name, count, memory):
    devices = parse_devices(text)
    assert (devices.name, devices.count, devices.kind.memory_gib) == (name, count, memory)


@pytest.mark.parametrize("text", ["v5e", "v5e-0", "b300:8", "v5e-256-x", "", "8xh100"])
def test_anything_else_is_one_line(text):
    with pytest.raises(UserError, match=r"expected a kind and a number, such as v5e-256; kinds are v4, v5e"):
        parse_devices(text)
