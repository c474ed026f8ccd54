"""Runs the passes of `distributed.passes` on Apache Beam, which is imported only if configured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.config import SettingError


@dataclasses.dataclass(frozen=True)
class BeamConfig:
    """The config section `pool.beam`.

    Attributes:
      runner: a Beam runner: DirectRunner (this machine), FlinkRunner, SparkRunner, DataflowRunner ...; None ingests
        without Beam.
      options: command-line options of the runner, such as ("--direct_num_workers=8",
        "--direct_running_mode=multi_processing").
    """

    runner: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = next((o for o in self.options if not o.startswith("--")), None)
        if wrong is not None:
            raise ValueError(f"options holds {wrong!r}; expected Beam's flags, such as '--direct_num_workers=8'")


def run(config: BeamConfig, label: str, items: Sequence[int], work: Callable[[int], None]) -> None:
    """Runs a pipeline that calls `work` for every item, and waits for it.

    Raises:
      UserError: Beam is not installed, the runner is unknown, or its options are wrong.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError("beam.runner needs Apache Beam: pip install 'mmssr_jax[beam]'") from None
    if not items:
        return
    logging.info("ingest: %s, %d items on Beam's %s", label, len(items), config.runner)
    try:
        options = PipelineOptions(flags=list(config.options))
        pipeline = beam.Pipeline(runner=config.runner, options=options)
    except (ValueError, SystemExit) as e:  # argparse exits on an option that it cannot parse
        raise SettingError(
            f"Beam refuses its options ({' '.join(str(e).split())})",
            f"beam.options=OPTIONS are flags of {config.runner}",
        ) from None
    with pipeline:
        made = pipeline | "items" >> beam.Create(list(items)) | "spread" >> beam.Reshuffle()
        _ = made | label >> beam.Map(functools.partial(_one, work))


def _one(work: Callable[[int], None], item: int) -> int:
    work(item)
    return item
