r"""Every selection method at 5, 10 and 30 % of a synthetic pool, compared: overlap, sources, tokens, seconds.

The features of ppl, visual_dependency, e5v, coincide and scalselect are computed here, with the model that ships with
the package. Those of clip_score, deita, icons, presel, rds_plus, ready_made_ratings and xmas are not computed yet: a
method is included if its file is in the folder FEATURES, and the rest runs without it.

    python -m mmssr_jax.main --config=configs/rivals.py --workdir=runs/rivals
    python -m mmssr_jax.main --config=configs/rivals.py:FEATURES --workdir=runs/rivals

    clip_score.parquet            id, similarity
    deita.parquet                 id, complexity, quality: a number, or a list with one number per turn
    icons.parquet                 id, one column of influences per target task
    presel.parquet                id, image (a vector), loss_with_question, loss_without_question
    rds_plus.parquet              id, the columns that RDS_TASKS names: similarities to the queries of target tasks
    ready_made_ratings.parquet    id, the columns that RATINGS names
    xmas.parquet                  id, trajectory (a list with one number per checkpoint)

Then open runs/rivals/report/index.html and runs/rivals/results/selections.json. Two of the features are like the
published ones, not equal: COINCIDE pools the output of attention, here it is the input of a layer; ScalSelect averages
the attended image tokens, here it is all of them. --dry_run logs what each selection needs.
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

BUDGETS = {"p05": {"ratio": 0.05}, "p10": {"ratio": 0.1}, "p30": {"ratio": 0.3}}
LAYERS = (1, 2, 3)
RDS_TASKS = {"task": ("query_0", "query_1", "query_2", "query_3")}
RATINGS = ("relevance_min", "image_correspondence_min", "visual_dependency_min", "formatting_min")


def mmssr_and_controls() -> dict[str, dict[str, Any]]:
    """mmSSR with its variants, and the controls that tell its scores from its mixture."""
    mmssr = {"method": "mmssr", "threshold": 3.0}
    return {
        "mmssr": {**mmssr, "formats": ("mixture_weights",)},
        "mmssr_deduplicated": {**mmssr, "near_duplicates": {}},
        "mmssr_quantile": {"method": "mmssr", "threshold_quantile": 0.8},
        "placebo": {"method": "placebo", "threshold": 3.0},
        "reversed": {"method": "reversed", "threshold": 2.0},
        "random": {"method": "random"},
        "proportional": {"method": "proportional"},
        "longest": {"method": "length"},
        **{
            f"matched_{name}": {"method": "matched", "like": f"mmssr-{name}", "budget": b}
            for name, b in BUDGETS.items()
        },
        "mmssr_tokens": {**mmssr, "budget": {"tokens": 60_000}},
    }


def computed() -> dict[str, dict[str, Any]]:
    """The published methods whose features the score stage computes."""
    likelihood, activations = ("likelihood",), ("activations",)
    parts = tuple(f"layer{k}_{modality}" for k in LAYERS for modality in ("image", "text"))
    return {
        **{
            f"ppl_{take}": {"method": "ppl", "take": take, "features": likelihood}
            for take in ("highest", "lowest", "middle", "window")
        },
        "visual_dependency": {"method": "visual_dependency", "features": likelihood},
        "e5v_clusters": {"method": "e5v", "rule": "clusters", "features": ("embedding",)},
        "e5v_walk": {"method": "e5v", "rule": "walk", "features": ("embedding",)},
        "coincide": {"method": "coincide", "parts": parts, "features": activations},
        "scalselect": {"method": "scalselect", "feature": f"layer{LAYERS[0]}_image", "features": activations},
    }


def given(folder: str) -> dict[str, dict[str, Any]]:
    """The published methods whose file of features is in a folder."""
    methods: dict[str, dict[str, Any]] = {
        "clip_score": {},
        "deita": {},
        "icons": {},
        "presel": {"feature": "image"},
        "rds_plus": {"tasks": RDS_TASKS},
        "ready_made_ratings": {"ratings": RATINGS, "minimum": 4.0},
        "xmas": {"trajectory": "trajectory"},
    }
    selections = {}
    for method, settings in methods.items():
        path = Path(folder) / f"{method}.parquet"
        if path.exists():
            features = (str(path), "embedding") if method == "deita" else (str(path),)
            selections[method] = {"method": method, "features": features, **settings}
    return selections


def get_config(features: str = "") -> ConfigDict:
    """The pool and the scorer of configs/tiny.py; `features` is the folder of user-supplied feature tables."""
    c = ConfigDict()
    c.name = "rivals: every selection method on a generated pool"
    c.stages = ("ingest", "judge", "train_scorer", "score", "select", "report")
    c.base = "base_tiny"
    c.pool = {"synthetic": {"size": 4000, "seed": 0}, "verify_images": "header"}
    c.judge = {"backend": "oracle", "count": 1500, "repeat_share": 0.05}
    c.scorer = {"max_prefix": 384, "holdout": 0.0}
    optimizer = {"kind": "muon", "learning_rate": 1e-3, "weight_decay": 0.02, "b2": 0.98}
    phase = {"steps": 600, "rows": 4, "length": 640, "images": 4, "targets": 96, "optimizer": optimizer}
    c.train_scorer = {"phase": phase}
    c.score = {"shards": 8, "buckets": {"rows": 8, "lengths": (256, 320, 384, 448, 640), "images": (0, 1, 2, 4)}}
    c.score.features = {"kinds": ("likelihood", "embedding", "activations"), "model": "base", "layers": LAYERS}
    selections = {**mmssr_and_controls(), **computed(), **(given(features) if features else {})}
    for section in selections.values():
        if "budget" not in section:
            section["budgets"] = BUDGETS
    c.select = {"summary": True, "selections": selections}
    return c
