r"""Every selection method at 5, 10 and 30 % of a synthetic pool, from pool to selections, compared.

    python -m mmssr_jax.main --config=configs/rivals.py --workdir=runs/rivals
    python -m mmssr_jax.main --config=configs/rivals.py:FEATURES --workdir=runs/rivals

Then open runs/rivals/report/index.html and runs/rivals/results/selections.json: overlap (Jaccard), distance of the
sources to the pool's, mean tokens, seconds, and the model of each method's features. --dry_run logs what each selection
needs. 37 minutes on one core: scorer 7, proxy and warm-up 12, scores and features 16; docs/rivals.md has the outcome.

What trains what: scorer, proxy and warm-up start from the same base, and are trained for as many steps of the same
size. The scorer learns the judge's ratings of 1,500 samples, the proxy the answers of the whole pool, the warm-up the
same as LoRA adapters. A row whose features are of "base" says so: it is an untrained model.

    method            features of this engine
    ppl, gap          `likelihood`, of the proxy
    e5v               `embedding`, of the proxy
    coincide          `attention_outputs`, of the proxy
    scalselect        `first_layer`, of the proxy (published: the target model before it is tuned)
    presel            `question_losses` of a fifth of the samples, of the proxy (published: of a model tuned on 5 %);
                      clusters of the `attended` tokens of `first_layer` (published: DINOv2)
    xmas              `attention_spectrum`, of five checkpoints of the proxy
    icons, rds_plus   `gradients` of the warm-up's adapters, `weighted_states` of the proxy, both compared with a few
                      samples of every source from another generated pool: they use target data
    deita             complexity and quality, rated by the judge and learned by the scorer beside the capabilities: like
                      Deita's, with the proxy's `embedding`
    ready-made        the same two ratings at a threshold, and the same with equal shares of the sources

FEATURES is a folder of what no model here makes; a method is included, or its features replaced, if its file is there:

    clip                          a CLIP or SigLIP checkpoint (config.json, safetensors, tokenizer.json), for clip_score
    clip_score.parquet            id, similarity
    deita.parquet                 id, complexity, quality: a number, or a list with one number per turn
    ready_made_ratings.parquet    id, the columns that RATINGS names
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmssr_jax.core.vocabulary import CAPABILITIES, DEITA_LIKE, SLUGS

BUDGETS = {"p05": {"ratio": 0.05}, "p10": {"ratio": 0.1}, "p30": {"ratio": 0.3}}
LAYERS = (1, 2, 3)
STEPS = 600  # of scorer, proxy and warm-up
PHRASES = {"complexity": "following demanding instructions", "quality": "giving good answers"}
RATINGS = ("relevance_min", "image_correspondence_min", "visual_dependency_min", "formatting_min")
KINDS = (
    "likelihood", "embedding", "attention_outputs", "first_layer", "question_losses", "weighted_states",
    "attention_spectrum", "gradients",
)  # fmt: skip


def mmssr_and_controls() -> dict[str, dict[str, Any]]:
    """mmSSR with its variants, and the controls that tell its scores from its mixture."""
    mmssr = {"method": "mmssr", "threshold": 3.0, "capabilities": SLUGS}
    return {
        "mmssr": {**mmssr, "formats": ("mixture_weights",)},
        "mmssr_deduplicated": {**mmssr, "near_duplicates": {}},
        "mmssr_quantile": {"method": "mmssr", "threshold_quantile": 0.95, "capabilities": SLUGS},
        "placebo": {"method": "placebo", "threshold": 3.0, "capabilities": SLUGS},
        "reversed": {"method": "reversed", "threshold": 2.0, "capabilities": SLUGS},
        "random": {"method": "random"},
        "proportional": {"method": "proportional"},
        "longest": {"method": "length"},
        **{
            f"matched_{name}": {"method": "matched", "like": f"mmssr-{name}", "budget": b}
            for name, b in BUDGETS.items()
        },
        "mmssr_tokens": {**mmssr, "budget": {"tokens": 60_000}},
    }


def computed(layers: Sequence[int] = LAYERS) -> dict[str, dict[str, Any]]:
    """The published methods, from features that the score stage computes.

    Args:
      layers: those of the proxy that COINCIDE reads; it takes five of 22.
    """
    parts = tuple(f"layer{k}_{modality}" for k in layers for modality in ("image", "text"))
    # Expected ratings shrink towards their mean: 1.8 leaves about two fifths of the pool, 3.0 one sample.
    rated = {"method": "ready_made_ratings", "ratings": tuple(PHRASES), "minimum": 1.8, "features": ("scores",)}
    return {
        **{
            f"ppl_{take}": {"method": "ppl", "take": take, "features": ("likelihood",)}
            for take in ("highest", "lowest", "middle", "window")
        },
        "visual_dependency": {"method": "visual_dependency", "features": ("likelihood",)},
        "e5v_clusters": {"method": "e5v", "rule": "clusters", "features": ("embedding",)},
        "e5v_walk": {"method": "e5v", "rule": "walk", "features": ("embedding",)},
        "coincide": {"method": "coincide", "parts": parts, "features": ("attention_outputs",)},
        "scalselect": {"method": "scalselect", "feature": "attended", "features": ("first_layer",)},
        "presel": {"method": "presel", "feature": "attended", "features": ("first_layer", "question_losses")},
        "xmas": {"method": "xmas", "trajectory": "trajectory", "features": ("attention_spectrum",)},
        "icons": {"method": "icons", "features": ("gradients",)},
        "rds_plus": {"method": "rds_plus", "features": ("weighted_states",)},
        "deita": {"method": "deita", "features": ("scores", "embedding")},
        "ratings": rated,
        "ratings_balanced": {**rated, "balance": "sources"},
    }


def given(folder: Path) -> dict[str, dict[str, Any]]:
    """The published methods whose features are in a folder of the user's."""
    methods: dict[str, dict[str, Any]] = {
        "clip_score": {},
        "deita": {},
        "ready_made_ratings": {"ratings": RATINGS, "minimum": 4.0},
    }
    selections = {}
    for method, settings in methods.items():
        path = folder / f"{method}.parquet"
        if path.exists():
            features = (str(path), "embedding") if method == "deita" else (str(path),)
            selections[method] = {"method": method, "features": features, **settings}
        elif method == "clip_score" and (folder / "clip").is_dir():
            selections[method] = {"method": method, "features": ("similarity",)}
    return selections


def phase(**more: Any) -> dict[str, Any]:
    """A training run of the size that all models here have."""
    optimizer = {"kind": "muon", "learning_rate": 1e-3, "weight_decay": 0.02, "b2": 0.98}
    return {"steps": STEPS, "rows": 4, "length": 640, "images": 4, "targets": 96, "optimizer": optimizer, **more}


def get_config(features: str = "") -> ConfigDict:
    """The pool and base of configs/synthetic.py; `features` is a folder of the user's feature tables."""
    folder = Path(features) if features else None
    c = ConfigDict()
    c.name = "rivals: every selection method on a generated pool"
    c.stages = ("ingest", "judge", "train_scorer", "train", "score", "select", "report")
    c.base = "base_tiny"
    c.pool = {"synthetic": {"size": 4000, "seed": 0}, "verify_images": "header"}
    c.pools = {"dev": {"synthetic": {"size": 120, "seed": 7, "flaw_share": 0.0}, "verify_images": "header"}}
    rated = {capability.name: capability.covers for capability in (*CAPABILITIES, *DEITA_LIKE)}
    c.judge = {"backend": "oracle", "count": 1500, "repeat_share": 0.05, "capabilities": rated}
    c.scorer = {"max_prefix": 384, "holdout": 0.0, "capabilities": (*SLUGS, *PHRASES), "phrases": PHRASES}
    c.train_scorer = {"phase": phase()}
    adapters = {"kind": "muon", "learning_rate": 3e-3, "weight_decay": 0.0, "b2": 0.98}
    c.train = {
        "phases": {
            "proxy": phase(targets=192, checkpoint_every=STEPS // 5, keep_all=True),
            "warm_up": phase(targets=192, optimizer=adapters, lora={"rank": 8, "alpha": 16.0}),
        }
    }
    c.score = {"shards": 8, "buckets": {"rows": 8, "lengths": (256, 320, 384, 448, 640), "images": (0, 1, 2, 4)}}
    c.score.features = {
        "kinds": KINDS, "model": "proxy", "layers": LAYERS, "adapters": "warm_up", "targets": "dev", "dimensions": 512,
        "reference_share": 0.2,
    }  # fmt: skip
    if folder is not None and (folder / "clip").is_dir():
        c.score.features.update({"kinds": (*KINDS, "similarity"), "pair": str(folder / "clip")})
    selections = {**mmssr_and_controls(), **computed(), **(given(folder) if folder is not None else {})}
    for section in selections.values():
        if "budget" not in section:
            section["budgets"] = BUDGETS
    c.select = {"summary": True, "selections": selections}
    return c
