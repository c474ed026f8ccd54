r"""MM1.5's life cycle at tiny size: text, pre-training, continual pre-training on text-rich images, SFT, evaluation.

    python -m mmssr_jax.main --config=configs/mm15_tiny.py --workdir=runs/mm15_tiny
    python -m mmssr_jax.main --config=configs/mm15_tiny.py:moe --workdir=runs/mm15_tiny_moe
    python benchmarks/mm15.py --workdir=runs/mm15 --seeds=0-2 --family=ablations

One run takes 11 minutes on one core and 1.6 GiB. Means of four seeds, beside the best of chance, a constant answer and
no images: one image 77 % (35), grounding 45 (17), referring 59 (2), screens 33 (14), taps 91 (F1; 68), several images
77 (4), few-shot names 100 (50), clips 93 (17). What it does not do well: boxes of small objects, which are a few
pixels off, and telling which of several objects is meant (docs/mm15.md). Variants, one run each, average of five
categories (recipe 75.5): moe 77.8, captions 76.8, ocr_captions 76.2, text_0.2 75.8, math_1.0 75.2, self_captions 75.0,
no_continual 72.2, ui 71.5, static 70.4, video_sft 69.4, only_single 56.1, only_general 31.2; scratch, from random
weights, 63.0 (48 minutes on one busy core, 2.3 GiB). A cell of the ablations takes 2.5 minutes.

All data is generated, in the tile world. The initial model is the base model of configs/tiny.py, which has seen
pictures with descriptions; the paper likewise starts from a trained vision tower and a trained language model. Phases,
ratios, alphas and group weights are the paper's (arXiv 2409.20566, sections 2 and 3), with these exceptions: Muon
instead of Adafactor, because SFT has few steps; a phase on text alone before pre-training, since our base model cannot
look up what it reads as a language model can, and text beside the boxes, where it would forget it; a phase on the boxes
of single objects before SFT, without which a model of this size does not locate one object among several; and answers
that tell what all pictures show, or where everything is, before they say which one was asked for: 0.7 M parameters read
what they wrote and do not compare what they saw. Each phase reports its validation loss before and after and its
realised shares in results/training/<run>.json; results/sft.json holds the benchmarks, each beside chance or the best
constant answer and the no-image baseline.

The argument is [SEED[@SCALE]/]ARM,ARM,...: an arm is a variant of `VARIANTS` below, several joined by "+", or "recipe".
The arms of one run share the phases in which they do not differ. A seed redraws data, benchmarks and batches.
"""

import copy
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

SOURCES = {  # of the tile pool, by the paper's categories
    "general": ("cards", "pairs", "album", "web"),
    "text_rich": ("signs",),
    "math": ("school",),
    "science": ("atlas",),
    "code": ("phrasebook",),
}
CHOICES: dict[str, Any] = {
    "experts": 0,  # of the decoder; 0 is dense
    "scratch": False,  # a model with random weights instead of the base model
    "ratio": {"pairs": 0.5, "interleaved": 0.1, "text": 0.4},  # of the samples in pre-training
    "continual": ("ocr",),  # components of continual pre-training; none skips the phase
    "batch": {},  # of all phases after pre-training
    "components": ("general", "text_rich", "refer", "math", "code", "science", "multi", "text"),  # of SFT
    "alphas": {"general": 1.0, "text_rich": 3.3, "refer": 2.0, "math": 0.5, "code": 0.2, "science": 0.1},
    "shares": {"multi": 0.1, "text": 0.1},  # of the groups in SFT; single-image samples take the rest
    "after_sft": {"video_sft": False, "ui": False},  # one more phase each, from the SFT checkpoint
}
ALL = CHOICES["components"]
VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    # Experts in every layer (there are three; the paper has them in every second), upcycled from the dense model.
    "moe": {"experts": 8},
    # A model with a C-Abstractor from random weights.
    "scratch": {"scratch": True, "batch": {"length": 288}},  # 36 tokens an image instead of 16
    # The initial model captions images; the filtered captions join continual pre-training.
    "self_captions": {"continual": ("ocr", "own")},
    # MM1.5-Video and MM1.5-UI; without the first, video questions go to the image model (training-free).
    "video_sft": {"after_sft": {"video_sft": True}},
    "ui": {"after_sft": {"ui": True}},
    # Resolution (section 9.5): 2 x 2 tiles and an overview.
    "static": {"batch": {"views": {"mode": "static"}, "length": 384, "images": 10}},
    # Data of continual pre-training (section 9.6).
    "no_continual": {"continual": ()},
    "captions": {"continual": ("captions",)},
    "ocr_captions": {"continual": ("ocr", "captions")},
    # MM1's ratio in pre-training (section 9.6).
    "ratio_45_45_10": {"ratio": {"pairs": 0.45, "interleaved": 0.45, "text": 0.10}},
    # SFT on one category, or on all single-image categories (sections 9.1 and 9.4).
    "only_general": {"components": ("general",)},
    "only_single": {"components": ("general", "text_rich", "refer", "math", "code", "science")},
    # Another alpha or another group share (sections 9.2 and 9.3).
    "refer_0.4": {"alphas": {"refer": 0.4}},
    "refer_1.0": {"alphas": {"refer": 1.0}},
    "math_1.0": {"alphas": {"math": 1.0}},
    "text_0.2": {"shares": {"text": 0.2}},
    "multi_0.0": {"components": tuple(name for name in ALL if name != "multi"), "shares": {"multi": 0.0}},
    "multi_0.3": {"shares": {"multi": 0.3}},
}
STEPS = {  # phase -> steps, by scale
    "full": {"language": 900, "pretrain": 1000, "continual": 60, "boxes": 500, "sft": 2400, "after": 100},
    "reduced": {"language": 700, "pretrain": 300, "continual": 40, "boxes": 80, "sft": 500, "after": 50},
    "least": {"language": 2, "pretrain": 2, "continual": 2, "boxes": 2, "sft": 2, "after": 2},
}
QUESTIONS = {"full": (200, 420), "reduced": (200, 420), "least": (28, 28)}  # of a task, of the capabilities
TASKS = {  # benchmark -> task, most tokens of an answer
    "grounding": ("grounding", 64), "referring": ("referring", 16), "screens": ("screen_grounding", 72),
    "taps": ("screen_taps", 56), "multi_image": ("multi_image", 24), "few_shot": ("few_shot", 10),
    "video": ("video", 10),
}  # fmt: skip


def phase(steps: int, learning_rate: float = 3e-3, **more: Any) -> dict[str, Any]:
    """A training phase; see `PhaseConfig` in mmssr_jax/stages/train/phase_config.py."""
    optimizer = {"kind": "muon", "learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98}
    optimizer |= more.pop("optimizer", {})
    shape = {"rows": 9, "length": 256, "images": 5, "targets": 144}
    holdout = {"share": 0.04, "limit": 32}
    return {"steps": steps, **shape, "holdout": holdout, "optimizer": optimizer, "checkpoint_every": 1000, **more}


def pre_training(ratio: ConfigDict, seed: int) -> dict[str, Any]:
    """The components of pre-training; a part of the pictures with descriptions are screens."""
    documents = {"size": 8000, "seed": 1 + 100 * seed}
    return {
        "pairs": {"weight": 0.7 * ratio.pairs, "pool": "captions"},
        "screens": {"weight": 0.3 * ratio.pairs, "pool": "exercises", "sources": ("screen_summary",)},
        "interleaved": {"weight": ratio.interleaved, "generated": {"kind": "interleaved", **documents}},
        "text": {"weight": ratio.text, "generated": {"kind": "text", **documents}},
    }


def continual(names: tuple[str, ...]) -> dict[str, Any]:
    """The components of continual pre-training: text-rich images, captions, or the model's captions."""
    components = {
        "ocr": {"pool": "instructions", "sources": ("signs",)},
        "captions": {"pool": "captions", "form": "caption"},
        "own": {"pool": "captioned", "form": "caption"},
    }
    return {name: components[name] for name in names}


def sft(choices: ConfigDict) -> dict[str, Any]:
    """The components of SFT, and the shares of their groups."""
    single = {"weight": 1.0, "group": "single", "pool": "instructions"}
    exercises = {"weight": 1.0, "pool": "exercises"}
    components: dict[str, Any] = {name: {**single, "sources": sources} for name, sources in SOURCES.items()}
    regions = ("grounding", "referring", "screen_grounding", "screen_referring", "screen_taps")
    components["refer"] = {**exercises, "group": "single", "sources": regions}
    for name, alpha in choices.alphas.items():
        components[name]["weight"] = alpha
    components["multi"] = {**exercises, "group": "multi", "sources": ("multi_image", "few_shot", "video")}
    components["text"] = {**exercises, "group": "text", "sources": ("told",)}
    kept = {name: components[name] for name in components if name in choices.components}
    shares = {"single": 1.0 - choices.shares.multi - choices.shares.text, **choices.shares}
    groups = {component["group"] for component in kept.values()}
    own = {"single": 1.0} if groups == {"single"} else {name: shares[name] for name in shares if name in groups}
    return {"mixture": kept, "groups": own}


def phases(choices: ConfigDict, steps: Mapping[str, int], seed: int) -> dict[str, Any]:
    """The phases of an arm by name; pre-training is a stage of its own when training from scratch."""
    batch, text = choices.batch.to_dict(), pre_training(choices.ratio, seed)["text"]
    result, init = {}, "base"
    if not choices.scratch:
        reading = {"text": {**text, "weight": 1.0}}
        result["language"] = phase(steps["language"], images=0, targets=240, mixture=reading)
        result["pretrain"] = {**pre_trained(choices, steps, seed, experts=choices.experts), "init": "language"}
        init = "pretrain"
    if choices.continual:
        data = {"mixture": continual(choices.continual)}
        adafactor = {"kind": "adafactor"}
        result["continual"] = phase(steps["continual"], 5e-4, init=init, optimizer=adafactor, **data, **batch)
        init = "continual"
    # Without text the model forgets how to look up what it reads.
    boxes = {"boxes": {"weight": 0.7, "pool": "single_objects"}, "text": {**text, "weight": 0.3}}
    result["boxes"] = phase(steps["boxes"], init=init, mixture=boxes, **batch)
    result["sft"] = phase(steps["sft"], init="boxes", **sft(choices), **batch)
    for name, sources in (("video_sft", ("video",)), ("ui", ("screen_*",))):
        if choices.after_sft[name]:
            mixture = {name: {"pool": "exercises", "sources": sources}}
            result[name] = phase(steps["after"], 1e-3, init="sft", mixture=mixture, **batch)
    return {name: {**one, "seed": seed} for name, one in result.items()}


def pre_trained(choices: ConfigDict, steps: Mapping[str, int], seed: int, *, experts: int) -> dict[str, Any]:
    """The phase of pre-training; `experts` are made from a dense decoder, 0 for none."""
    moe = {"moe": {"experts": experts, "every": 1}} if experts else {}
    optimizer = {"final": 0.1, "z_loss": 1e-4}
    return phase(steps["pretrain"], targets=240, mixture=pre_training(choices.ratio, seed), optimizer=optimizer, **moe)


def merged(chains: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """All phases by name, those of equal settings and starts once, and the runs of each arm that are evaluated."""
    result: dict[str, Any] = {}
    runs = {}
    for arm, chain in chains.items():
        names: dict[str, str] = {}
        for name, one in chain.items():
            one = {**one, "init": names.get(one["init"], one["init"])} if "init" in one else one
            same = next((n for n, kept in result.items() if n.partition("-")[0] == name and kept == one), None)
            names[name] = same or (name if name not in result else f"{name}-{arm.replace('.', '_')}")
            result[names[name]] = one
        runs[arm] = tuple(names[name] for name in ("sft", "video_sft", "ui") if name in names)
    return result, runs


def pools(seed: int) -> dict[str, Any]:
    """The generated pools."""
    tasks = {"grounding": 4.0, "referring": 2.0, "screen_grounding": 4.0, "screen_referring": 3.0, "screen_taps": 4.0,
             "screen_summary": 3.0, "multi_image": 2.0, "few_shot": 3.0, "video": 1.0, "told": 2.0}  # fmt: skip
    generated: dict[str, Any] = {
        "captions": {"captions": {"size": 4000, "seed": 9 + 100 * seed, "world": "tiles"}},
        "instructions": {"tiles": {"size": 4000, "seed": 100 * seed, "flaw_share": 0.0}},
        "exercises": {"exercises": {"tasks": tasks, "size": 18_000, "seed": 2 + 100 * seed, "frames": 4}},
        "single_objects": {"exercises": {"tasks": {"locating": 1.0}, "size": 6000, "seed": 3 + 100 * seed}},
    }
    return {name: {**pool, "verify_images": "header"} for name, pool in generated.items()}


def benchmarks(scale: str, seed: int) -> dict[str, Any]:
    """One benchmark for each kind of question, and one for the capabilities, whose options are ranked."""
    asked, of_all = QUESTIONS[scale]
    result: dict[str, Any] = {
        name: {"synthetic": {"task": task, "questions": asked, "seed": 5 + 100 * seed}, "instruction": "",
               "max_new_tokens": tokens}
        for name, (task, tokens) in TASKS.items()
    }  # fmt: skip
    result["video"]["frames"] = 4
    tiles = {"questions": of_all, "seed": 1 + 100 * seed, "task": "tiles"}
    result["one_image"] = {"synthetic": tiles, "instruction": "", "answering": "rank"}
    return result


def choices_of(arm: str) -> ConfigDict:
    """The choices of an arm.

    Raises:
      ValueError: it names no variant.
    """
    choices = ConfigDict(copy.deepcopy(CHOICES))
    for name in filter(None, arm.split("+")):
        if name not in VARIANTS:
            raise ValueError(f"no variant is called {name!r}; known are {', '.join(VARIANTS)}")
        choices.update(VARIANTS[name])
    return choices


def parse(arg: str) -> tuple[int, str, list[str]]:
    """Seed, scale and arms of an argument, [SEED[@SCALE]/]ARM,ARM,...

    Raises:
      ValueError: the seed is no number, there is no such scale, or "scratch" is not alone.
    """
    place, _, names = arg.rpartition("/")
    seed, _, scale = (place or "0").partition("@")
    scale = scale or "full"
    arms = list(filter(None, names.split(","))) or ["recipe"]
    if not seed.isdecimal():
        raise ValueError(f"{arg}: the seed is a whole number from 0 on, not {seed!r}")
    if scale not in STEPS:
        raise ValueError(f"{arg}: there is no scale {scale!r}; known are {', '.join(STEPS)}")
    if len(arms) > 1 and any(choices_of(arm).scratch for arm in arms):
        raise ValueError(f"{arg}: scratch has a base model of its own; give it a workdir of its own")
    return int(seed), scale, arms


def runs_of(arg: str) -> dict[str, tuple[str, ...]]:
    """The runs of each arm that are evaluated, the last one with all phases."""
    seed, scale, arms = parse(arg)
    return merged({arm: phases(choices_of(arm), STEPS[scale], seed) for arm in arms})[1]


def get_config(arg: str = "") -> ConfigDict:
    """The paper's recipe, or the arms that `arg` names."""
    seed, scale, arms = parse(arg or "")
    steps, choices = STEPS[scale], {arm: choices_of(arm) for arm in arms}
    first = choices[arms[0]]

    c = ConfigDict()
    c.name = f"MM1.5's life cycle, tiny{': ' + arg if arg else ''}"
    c.pools = pools(seed)
    before: tuple[str, ...] = ()
    if first.scratch:
        before = ("pretrain",)
        preset = "mm15_tiny_moe" if first.experts else "mm15_tiny"
        twice = {"pretrain": 2 * steps["pretrain"]}
        dense = {**pre_trained(first, twice, seed, experts=0), "seed": seed}
        c.pretrain = {"preset": preset, "vocab_size": 1024, "seed": seed, "phase": dense}
    else:
        c.base = "base_tiles"
    if any("own" in one.continual for one in choices.values()):
        before = (*before, "captions")
        c.captions = {"model": "base", "pool": "instructions", "name": "captioned", "max_new_tokens": 48}
    c.stages = ("ingest", *before, "train", "evaluate", "report")
    all_phases, runs = merged({arm: phases(choices[arm], steps, seed) for arm in arms})
    c.train = {"phases": all_phases}
    evaluated = tuple(dict.fromkeys(run for arm in arms for run in runs[arm]))
    c.evaluate = {
        "benchmarks": benchmarks(scale, seed),
        "runs": evaluated,
        "blind": evaluated[:1],
        "max_new_tokens": 12,
        "answerer": {"rows": 64},
        "averages": {
            "refer_ground": ("grounding", "referring", "screens"),
            "several_pictures": ("multi_image", "few_shot", "video"),
        },
    }
    return c
