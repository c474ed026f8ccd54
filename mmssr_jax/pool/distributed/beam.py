"""Ingestion on Apache Beam, whose workers take the items of `pool.spread`; Beam is imported only where asked for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from absl import logging

from mmssr_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class BeamConfig:
    """The config section `pool.beam`.

    Attributes:
      runner: as Beam calls it: DirectRunner (this machine), FlinkRunner, SparkRunner, DataflowRunner ...; None takes
        the pool in without Beam.
      options: the runner's options as its command line takes them, such as ("--direct_num_workers=8",
        "--direct_running_mode=multi_processing").
    """

    runner: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = next((o for o in self.options if not o.startswith("--")), None)
        if wrong is not None:
            raise ValueError(f"options holds {wrong!r}; expected Beam's flags, such as '--direct_num_workers=8'")


def run(config: BeamConfig, label: str, items: Sequence[int], work: Callable[[int], None]) -> None:
    """Does `work` for every item in a pipeline of its own, and waits for it.

    Raises:
      UserError: Beam is not installed, knows no such runner, or its options are wrong.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError("config.pool.beam.runner needs Apache Beam: pip install 'mmssr_jax[beam]'") from None
    if not items:
        return
    logging.info("ingest: %s, %d items on Beam's %s", label, len(items), config.runner)
    try:
        options = PipelineOptions(flags=list(config.options))
        pipeline = beam.Pipeline(runner=config.runner, options=options)
    except (ValueError, SystemExit) as e:  # argparse ends the program on an option that it cannot read
        raise UserError(f"config.pool.beam: {' '.join(str(e).split())}") from None
    with pipeline:
        made = pipeline | "items" >> beam.Create(list(items)) | "spread" >> beam.Reshuffle()
        _ = made | label >> beam.Map(functools.partial(_one, work))


def _one(work: Callable[[int], None], item: int) -> int:
    work(item)
    return item
