"""Throughput of the scoring input pipeline, and of scoring end to end, for benchmarks/scoring.py."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SAMPLES = 192
POOL = 768
ROUNDS = 3


def photographs(count: int) -> list[Any]:
    """Samples with one JPEG of 640 x 480 that compresses like a photograph, and about 150 words."""
    import numpy as np
    from PIL import Image, ImageFilter

    from mmssr_jax.core.sample import ImageRef, Sample, Turn

    rng = np.random.default_rng(0)
    texts = ["What is to be seen in the picture, and what may happen next? " * 3, "A man walks over a street. " * 20]
    samples = []
    for n in range(count):
        noise = Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        noise.filter(ImageFilter.GaussianBlur(2)).save(buffer, "JPEG", quality=85)
        turns = (Turn("user", "<image>\n" + texts[0]), Turn("assistant", texts[1]))
        samples.append(Sample(str(n), "s", turns, (ImageRef(data=buffer.getvalue()),)))
    return samples


def input_rates(*, threads: int) -> dict[str, Any]:
    """Samples/s of the pipeline that feeds a scorer of 384 pixels, over decoding alone with as many threads."""
    from scoring_parts import questions

    from mmssr_jax.images.decode import open_rgb
    from mmssr_jax.scoring.ensemble import ScorerEnsemble
    from mmssr_jax.scoring.score_pool import RejectedSample, read_prompts
    from mmssr_jax.scoring.scorer import Buckets

    class NoModel:
        """The attributes of a scorer that reading prompts needs."""

        encoder = questions("all")

        def shape(self, example: Any) -> Any:
            return Buckets(lengths=(4096,)).shape(example, 300)

    samples = photographs(SAMPLES)
    ensemble = ScorerEnsemble(NoModel())  # type: ignore[arg-type]

    def pipeline() -> None:
        assert not any(isinstance(x, RejectedSample) for x in read_prompts(samples, ensemble, threads=threads))

    def over(work: Any) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, samples))

    times: dict[str, list[float]] = {"pipeline": [], "views": [], "decode": []}
    for n in range(ROUNDS + 1):
        for name, run in (
            ("pipeline", pipeline),
            ("views", lambda: over(ensemble.scorer.encoder.processor.preprocess)),
            ("decode", lambda: over(lambda s: open_rgb(s.images[0].read()))),
        ):
            begin = time.perf_counter()
            run()
            if n:
                times[name].append(time.perf_counter() - begin)
    seconds = {name: statistics.median(t) for name, t in times.items()}
    return {
        "input_over_decode": round(seconds["views"] / seconds["pipeline"], 3),
        "input": {f"{name}_per_s": round(SAMPLES / s, 1) for name, s in seconds.items()},
    }


def pool_rate(*, threads: int) -> dict[str, Any]:
    """Samples/s of the tiny model over a packed synthetic pool, all programs compiled before; padding and waiting."""
    import jax
    from ml_collections import ConfigDict

    from mmssr_jax.core import model_folder, tables
    from mmssr_jax.core.shards import ShardedJob
    from mmssr_jax.core.stage import StageContext
    from mmssr_jax.core.vocabulary import CAPABILITIES
    from mmssr_jax.core.workdir import Workdir
    from mmssr_jax.parallel.mesh import make_mesh
    from mmssr_jax.pool.pool import open_pool
    from mmssr_jax.scoring.encoder import ScorerEncoder
    from mmssr_jax.scoring.ensemble import ScorerEnsemble
    from mmssr_jax.scoring.score_pool import ScoringThroughput, score_pool
    from mmssr_jax.scoring.scorer import Buckets, Scorer
    from mmssr_jax.stages import ingest
    from mmssr_jax.training.bundle import load_bundle

    with tempfile.TemporaryDirectory() as folder:
        config = ConfigDict({"base": "base_tiny", "pool": {"synthetic": {"size": POOL, "seed": 0}, "packed": True}})
        context = StageContext(config, Workdir(Path(folder)))
        ingest.run(context)
        pool = open_pool(context.workdir.pool)
        bundle = load_bundle(model_folder.model_folder(context, "base"))
        encoder = ScorerEncoder(bundle.processor(), CAPABILITIES, max_prefix=384)
        mesh = make_mesh(devices=jax.devices()[:1])
        scorer = Scorer(
            bundle.graphdef, bundle.params, encoder, mesh=mesh,
            buckets=Buckets(rows=8),
        )  # fmt: skip
        ensemble = ScorerEnsemble(scorer)
        for name in ("first", "timed"):
            meter = ScoringThroughput(ensemble)
            begin = time.perf_counter()
            part = Path(folder) / name / tables.part_name(0, 1)
            with ShardedJob(1, lambda n, part=part: part.exists(), lock=Path(folder) / "lock") as job:
                score_pool(pool, ensemble, part.parent, job=job, threads=threads)
            seconds = time.perf_counter() - begin
    scalars = meter.scalars()
    return {
        "samples_per_s": round(len(pool) / seconds, 1),
        "padding_share": round(scalars["padding_share"], 4),
        "pool": {"samples": len(pool), "tokens_per_s": round(scalars["tokens_per_s"])},
    }
