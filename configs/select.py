r"""Selections from scores that you have: which samples of a pool to train on, and why. No model is loaded.

    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --config.pool.path=POOL.json \
        --config.select.scores=SCORES.parquet

SCORES is a Parquet file or a folder of part-*.parquet with id, source, one column of 0-5 a capability, styles (a list)
and maybe n_tokens; or what the official program leaves, its folder of answers or its parsed csv. Seconds for millions
of rows. In runs/chosen/selections/<name>/ stand the picks in order with their reasons, their ids, and the untouched
records for any other trainer. Further commands about selections that are there, each of which ends with its answer:

    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.verify=true
    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.explain=ID1,ID2
    python -m mmssr_jax.main --config=configs/select.py --workdir=runs/chosen --stages=select \
        --config.pool.path=POOL.json --config.select.scores=SCORES.parquet --config.select.compare=mmssr,random

verify derives every selection again from what its manifest names and compares (exit status 2 where it differs);
explain says for each selection why the ids were taken, or what score they would have needed; compare says what two
selections share. A capability of your own joins the others without scoring them again: give its scores as
--config.select.selections.mmssr.extra_scores=NEW.parquet (id, one column a capability).
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """mmSSR beside two rivals that need no model, at one budget."""
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
        "scores": config_dict.placeholder(str),  # the scores of this workdir where not given
        "verify": False,
        "explain": (),
        "compare": (),
        "selections": {
            "mmssr": {
                "method": "mmssr",
                "budget": budget,
                "seed": 0,
                "capabilities": (),  # names of the score columns; all of them where empty
                # What rounds to 0 is not eligible, as the official integer rule has it.
                "threshold": 0.5,
                "thresholds": {},  # a capability's own, by its column
                "weights": {},
                "extra_scores": (),
                "only": {"sources": (), "styles": (), "ids": config_dict.placeholder(str)},
                "exclude": {"sources": (), "styles": (), "ids": config_dict.placeholder(str)},  # ids: an opt-out list
                "require_ids": config_dict.placeholder(str),
                "owned": (),  # selections or files of ids that you have already
                "max_per_source": config_dict.placeholder(int),
                "formats": (),  # csv, hf_parquet, webdataset, mixture, datacomp, official, packed
            },
            "random": {"method": "random", "budget": budget, "seed": 0},
            "stratified": {"method": "stratified", "budget": budget, "seed": 0},
            # By a number of each sample, such as a perplexity: "method": "feature", "features": ("PPL.parquet",),
            # "feature": "nll", "take": "middle" (or highest, lowest).
        },
    }
    return c
