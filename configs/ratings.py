r"""Selections by numbers that others made: ratings, annotations, statistics, joined to the pool by id.

    python -m mmssr_jax.main --config=configs/ratings.py --workdir=runs/rated --config.pool.path=FINEVISION \
        --config.pool.packed=true --config.select.selections.rated.features=FINEVISION

FINEVISION is a folder of its Parquet files, which hold the samples and their ratings. In general `features` is Parquet
with an id column, JSONL with an `id`, or JSON that maps ids to numbers, as DataComp-VLM annotates its shards; a file or
a folder of them. Only the columns that a selection names are read, piece by piece, and nothing is scored. `rated` takes
random samples whose ratings all reach `minimum`. From DataComp-VLM's shards, the highest of one of its annotations:

    python -m mmssr_jax.main --config=configs/ratings.py --workdir=runs/clip --config.pool.path=SHARDS \
        --config.pool.packed=true --config.pool.webdataset.id=key --config.select.selections.rated.method=feature \
        --config.select.selections.rated.feature=clip_score --config.select.selections.rated.features=ANNOTATIONS

The ids alone, without a pool (120.9 M rows with 14 numbers took 140 seconds and 15.3 GiB on two quiet cores, see
benchmarks/annotations.py):

    python -m mmssr_jax.main --config=configs/ratings.py --workdir=runs/ids --stages=select \
        --config.select.ids_only=true --config.select.selections.rated.features=ANNOTATIONS \
        --config.select.selections.rated.ratings=NUMBER,NUMBER
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Random samples whose ratings all reach a threshold."""
    c = ConfigDict()
    c.name = "ready-made ratings"
    c.stages = ("ingest", "select", "report")
    c.pool = {
        "path": config_dict.placeholder(str),
        "id": "id",
        "source": {"field": "source"},
        "packed": False,
    }
    c.select = {
        "ids_only": False,
        "selections": {
            "rated": {
                "method": "ready_made_ratings",
                # FineVision's, the lowest over the turns of a sample, 1 to 5.
                "ratings": ("relevance_min", "image_correspondence_min", "visual_dependency_min", "formatting_min"),
                "minimum": 3.0,
                "budget": {"ratio": 0.1},
                "features": (),
                "seed": 0,
            },
        },
    }
    return c
