r"""Selections from existing scores: which samples of a pool to train on, and why. No model is loaded.

    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --config.pool.path=POOL.json \
        --config.select.scores=SCORES.parquet

SCORES is a Parquet file or a folder of part-*.parquet with id, source, one column of 0-5 per capability, styles (a
list) and optionally n_tokens; or the output of the official program, its folder of answers or its parsed CSV. Millions
of rows take seconds. runs/chosen/selections/<name>/ then contains the picks in order with their reasons, their ids, and
the unchanged records for any other trainer. A further column of numbers in SCORES is no capability: it is refused,
unless the selection names its capabilities. For ratings that others made, see configs/ratings.py. Further commands
inspect existing selections:

    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.verify=true
    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.explain=ID1,ID2
    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.compare=mmssr,random

verify computes every selection again from its inputs and compares (exit status 2 if it differs); explain logs for each
selection why the ids were taken, or what score they would have needed; compare logs what two selections share. To add a
capability without scoring the others again, give its scores as
--config.select.selections.mmssr.extra_scores=NEW.parquet (id, one column per capability).
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """mmSSR and two baselines that need no model, at one budget."""
    c = ConfigDict()
    c.name = "my selections"
    c.stages = ("ingest", "select", "report")
    c.pool = {
        "path": config_dict.placeholder(str),
        "images": config_dict.placeholder(str),
        "id": "id",
        "source": {"field": "source"},
        "repair": "strict",
        "packed": False,
    }
    budget = {"ratio": 0.1, "count": config_dict.placeholder(int), "tokens": config_dict.placeholder(int)}
    c.select = {
        "scores": config_dict.placeholder(str),  # default: the scores of this workdir
        "verify": False,
        "explain": (),
        "compare": (),
        "selections": {
            "mmssr": {
                "method": "mmssr",
                "budget": budget,
                "seed": 0,
                "capabilities": (),  # names of score columns; all if empty
                # What rounds to 0 is not eligible, as in the official integer rule.
                "threshold": 0.5,
                "threshold_quantile": config_dict.placeholder(float),  # of each capability's scores, instead
                "thresholds": {},  # by capability
                "weights": {},
                "extra_scores": (),
                "only": {"sources": (), "styles": (), "ids": config_dict.placeholder(str)},
                "exclude": {"sources": (), "styles": (), "ids": config_dict.placeholder(str)},  # ids: an opt-out list
                "require_ids": config_dict.placeholder(str),
                "owned": (),  # selections or files of ids that are in use already
                "max_per_source": config_dict.placeholder(int),
                "formats": (),  # csv, hf_parquet, webdataset, mixture, mixture_weights, datacomp, official, packed
            },
            "random": {"method": "random", "budget": budget, "seed": 0},
            "stratified": {"method": "stratified", "budget": budget, "seed": 0},
            # By a number of each sample, such as its loss: "method": "feature", "features": ("LOSS.parquet",),
            # "feature": "nll", "take": "middle" (or highest, lowest). Further methods: mmssr_jax/selection/methods.
        },
    }
    return c
