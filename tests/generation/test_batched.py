"""Batches are filled by bucket, overlap with reading, and results come back in the order of the items."""

from __future__ import annotations

import pytest

from mmssr_jax.generation.batched import in_order, run_batched


class Device:
    """Records what happens; a result is the item in upper case with its row."""

    def __init__(self):
        self.events = []

    def items(self, text):
        for item in text:
            self.events.append(f"read {item}")
            yield item

    def dispatch(self, items, bucket):
        assert all(item.isdigit() == bucket for item in items)
        self.events.append("dispatch " + "".join(items))
        return "".join(items)

    def fetch(self, pending, items):
        assert pending == "".join(items)
        self.events.append(f"fetch {pending}")
        return [f"{item}{row}" for row, item in enumerate(items)]

    def run(self, text, *, in_flight):
        return run_batched(
            self.items(text), rows=2, bucket=str.isdigit, dispatch=self.dispatch, fetch=self.fetch, in_flight=in_flight
        )


def test_results_are_in_the_order_of_the_items():
    assert in_order(Device().run("a1b2c", in_flight=2)) == ["a0", "10", "b1", "21", "c0"]
    assert in_order(Device().run("", in_flight=2)) == []


def test_batches_come_in_the_order_of_dispatch():
    triples = list(Device().run("a1bc2d3", in_flight=2))
    assert [item for _, item, _ in triples] == ["a", "b", "1", "2", "c", "d", "3"]
    assert sorted(index for index, _, _ in triples) == list(range(7))


@pytest.mark.parametrize(
    ("in_flight", "events"),
    [
        (1, ["dispatch ab", "fetch ab", "read c", "read d", "dispatch cd", "fetch cd", "read e", "dispatch e"]),
        (2, ["dispatch ab", "read c", "read d", "dispatch cd", "fetch ab", "read e", "dispatch e", "fetch cd"]),
    ],
)
def test_reading_goes_on_while_batches_are_in_flight(in_flight, events):
    device = Device()
    list(device.run("abcde", in_flight=in_flight))
    assert device.events == ["read a", "read b", *events, "fetch e"]


def test_an_item_without_a_bucket_raises():
    def bucket(item):
        raise ValueError(f"{item} fits no shape")

    with pytest.raises(ValueError, match="a fits no shape"):
        list(run_batched("a", rows=2, bucket=bucket, dispatch=lambda i, b: None, fetch=lambda p, i: []))
