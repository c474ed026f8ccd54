"""Runs items of different shapes through a model in batches of fixed shapes.

    items      a  B  c  d  E  f            upper and lower case: two buckets; rows = 2
    batches    [a c]  [d f]  [B E]         a batch is dispatched when its bucket has `rows` items, or at the end
    results    a  c  d  f  B  E            batch by batch; `in_order` restores the order of the items

A bucket is a function of the item alone, and rows of a batch do not influence each other; an item's result therefore
does not depend on its neighbours.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Bucket = TypeVar("Bucket", bound=Hashable)
Pending = TypeVar("Pending")
Result = TypeVar("Result")


def run_batched(
    items: Iterable[Item],
    *,
    rows: int,
    bucket: Callable[[Item], Bucket],
    dispatch: Callable[[list[Item], Bucket], Pending],
    fetch: Callable[[Pending, list[Item]], Sequence[Result]],
    in_flight: int = 2,
) -> Iterator[tuple[int, Item, Result]]:
    """Yields (index of the item, item, result), batch by batch in the order of dispatch.

    JAX runs programs asynchronously, so that items are read and batches are padded while the device computes; `items`
    is consumed as batches are needed.

    Args:
      items: what to run; consumed lazily.
      rows: rows of a batch.
      bucket: the shape that an item is padded to; raises if there is none.
      dispatch: pads at most `rows` items of one bucket and starts their computation.
      fetch: waits for a computation and returns one result per item, without those of padding rows.
      in_flight: a batch is fetched when this many are dispatched; 1 waits for each batch before reading on.
    """
    waiting: dict[Bucket, list[tuple[int, Item]]] = {}
    dispatched: collections.deque[tuple[list[tuple[int, Item]], Pending]] = collections.deque()

    def flush(key: Bucket) -> None:
        members = waiting.pop(key)
        dispatched.append((members, dispatch([item for _, item in members], key)))

    def fetch_oldest() -> Iterator[tuple[int, Item, Result]]:
        members, pending = dispatched.popleft()
        results = fetch(pending, [item for _, item in members])
        for (index, item), result in zip(members, results, strict=True):
            yield index, item, result

    for index, item in enumerate(items):
        key = bucket(item)
        members = waiting.setdefault(key, [])
        members.append((index, item))
        if len(members) == rows:
            flush(key)
            if len(dispatched) >= in_flight:
                yield from fetch_oldest()
    for key in list(waiting):
        flush(key)
        if len(dispatched) >= in_flight:
            yield from fetch_oldest()
    while dispatched:
        yield from fetch_oldest()


def in_order(results: Iterable[tuple[int, Item, Result]]) -> list[Result]:
    """The results of `run_batched` in the order of the items."""
    return [result for _, _, result in sorted(results, key=lambda triple: triple[0])]
