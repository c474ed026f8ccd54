"""The readers that are fuzzed, by name: for each a small valid input, its mutations, and the function that reads it.

A target's `make` gives files by their path in an empty folder, `read` reads them as a stage does. What `read` may raise
is in `REFUSALS`: the errors that end in one line, or in an answer of the server. The order of the names is part of what
a seed stands for: input n goes to the n-th of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmssr_jax.core.errors import UserError
from mmssr_jax.images.decode import ImageError
from mmssr_jax.serving.api_error import ApiError

from . import artifacts, benchmark_tables, http_bodies, images, models, pools, ratings
from .target import Target

REFUSALS = (UserError, ApiError, ImageError)

TARGETS: Mapping[str, Target] = {
    **pools.TARGETS,
    **benchmark_tables.TARGETS,
    **ratings.TARGETS,
    **models.TARGETS,
    **artifacts.TARGETS,
    **http_bodies.TARGETS,
    **images.TARGETS,
}
