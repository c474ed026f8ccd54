"""The largest batch that a device holds, found in a few compiles."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmssr_jax.core.errors import UserError


def most_rows(hbm: Callable[[int], float], limit: float, *, compiles: int = 8) -> int:
    """Rows a device that fill it: the program needs more than 95 % of `limit`, or one row more does not fit.

    Memory is taken to grow by a line through the two largest sizes that are known to fit.

    Args:
      hbm: rows a device -> GiB, or infinity where the compiler says that it does not fit.
      limit: GiB.
      compiles: sizes that are looked at; the largest that fits is taken where they do not suffice.

    Raises:
      UserError: not even one row fits.
    """
    known = {1: hbm(1)}
    if known[1] > limit:
        raise UserError(f"one row a device needs {known[1]:.2f} GiB, a chip has {limit}")
    rows = 4
    while len(known) < compiles:
        known[rows] = hbm(rows)
        *smaller, best = sorted(r for r, gib in known.items() if gib <= limit)
        above = min((r for r, gib in known.items() if gib > limit), default=None)
        if known[best] > 0.95 * limit or above == best + 1:
            break
        rows = 2 * best
        if smaller:
            slope = (known[best] - known[smaller[-1]]) / (best - smaller[-1])
            rows = best + max(int((limit - known[best]) / slope), 1)
        if above is not None:
            rows = min(rows, max(math.isqrt(best * above), best + 1))
    return max(r for r, gib in known.items() if gib <= limit)
