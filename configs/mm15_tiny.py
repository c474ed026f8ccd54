r"""MM1.5's life cycle at tiny size: pre-training, continual pre-training on text-rich images, SFT, evaluation.

    python -m mmssr_jax.main --config=configs/mm15_tiny.py --workdir=runs/mm15_tiny
    python -m mmssr_jax.main --config=configs/mm15_tiny.py:moe --workdir=runs/mm15_tiny_moe

All data is generated. The initial model is the base model that ships with the package; the paper likewise starts from a
trained vision tower and a trained language model. Phases, ratios, alphas and group weights are the paper's (arXiv
2409.20566, sections 2 and 3), with two exceptions: SFT uses Muon instead of Adafactor, because it has only a few
hundred steps, and it is preceded by a phase on bounding boxes of single shapes, without which a model of this size
cannot locate one shape among several. Each phase reports its validation loss before and after and its realised shares
in results/training/<run>.json; results/sft.json holds the benchmarks, each beside chance and the no-image baseline. On
two cores the dense run took 13 minutes and 1.1 GiB, the one with experts 14 and 2.3 before the training step was made
faster.

Expect every phase to lower its loss. Results of one run: 37 of 100 shapes located (a constant box: 15; single shapes
53 %, one of two 30 %, one of several 27 %), 48 % accuracy on several images (chance 33, no-image baseline 39), 32 % on
one image (chance 26, no-image baseline 24), and 18 of 100 descriptions of a box (no-image baseline 0). Screen elements
(21 of 100; a constant box 22), taps, few-shot names and clips stay at chance. With experts, and 2,500 instructions
instead of 4,000: 39 shapes located and 49 % on several images.

The training loss of a step of "continual" is that of about 110 tokens, mostly letters, and spreads: with the
parameters that the phase starts from, 30 batches have 0.47 (the first one) to 3.69, nine of them below 0.9, and 2.00
over their 3,132 targets. 14 % of the targets, words of answer forms that the model has never seen, hold 66 % of the
loss; a batch without them is cheap. Compare phases by validation losses, not by their first step.

The argument names a variant of `VARIANTS` below, or several joined by "+". To add one, add a line to the table.
"""

from typing import Any

from ml_collections import ConfigDict

SOURCES = {  # of the synthetic pool, by the paper's categories
    "general": ("shapeworld", "everyday", "captioner", "versus"),
    "text_rich": ("chartville", "signpost"),
    "math": ("riddles", "stepwise"),
    "science": ("schoolbook", "nature"),
    "code": ("atlas",),
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
VARIANTS: dict[str, dict[str, Any]] = {
    # Experts in every second layer, upcycled from the dense base model.
    "moe": {"experts": 8},
    # A model with a C-Abstractor from random weights; it needs more steps than are practical on two cores.
    "scratch": {"scratch": True},
    # The pre-trained model captions images; the filtered captions join continual pre-training.
    "self_captions": {"continual": ("ocr", "own")},
    # MM1.5-Video and MM1.5-UI; without the first, video questions go to the image model (training-free).
    "video_sft": {"after_sft": {"video_sft": True}},
    "ui": {"after_sft": {"ui": True}},
    # Resolution (section 9.5): 2 x 2 tiles and an overview.
    "static": {"batch": {"views": {"mode": "static"}, "length": 768, "images": 10}},
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
    "math_1.0": {"alphas": {"math": 1.0}},
    "refer_0.4": {"alphas": {"refer": 0.4}},
    "text_0.2": {"shares": {"text": 0.2}},
    "multi_0.3": {"shares": {"multi": 0.3}},
}
TASKS = {
    "grounding": ("grounding", 20), "referring": ("referring", 8), "multi_image": ("multi_image", 4),
    "few_shot": ("few_shot", 4), "video": ("video", 4), "screens": ("screen_grounding", 20), "taps": ("screen_taps", 4),
}  # fmt: skip


def phase(steps: int, learning_rate: float, **more: Any) -> dict[str, Any]:
    """A training phase; see `PhaseConfig` in mmssr_jax/stages/train/phase_config.py."""
    optimizer = {"learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98, **more.pop("optimizer", {})}
    shape = {"rows": 8, "length": 384, "images": 4, "targets": 256}
    holdout = {"share": 0.04, "limit": 32}
    return {"steps": steps, **shape, "holdout": holdout, "optimizer": optimizer, "checkpoint_every": 300, **more}


def pre_training(ratio: ConfigDict) -> dict[str, Any]:
    """The components of pre-training."""
    return {
        "pairs": {"weight": ratio.pairs, "pool": "captions"},
        "interleaved": {"weight": ratio.interleaved, "generated": {"kind": "interleaved", "size": 500, "seed": 1}},
        "text": {"weight": ratio.text, "generated": {"kind": "text", "size": 1000, "seed": 1}},
    }


def continual(names: tuple[str, ...]) -> dict[str, Any]:
    """The components of continual pre-training: text-rich images, captions, or the model's captions."""
    components = {
        "ocr": {"pool": "instructions", "sources": ("signpost", "chartville")},
        "captions": {"pool": "captions", "form": "caption"},
        "own": {"pool": "captioned", "form": "caption"},
    }
    return {name: components[name] for name in names}


def sft(choices: ConfigDict) -> dict[str, Any]:
    """The components of SFT, and the shares of their groups."""
    single = {"weight": 1.0, "group": "single", "pool": "instructions"}
    exercises = {"weight": 1.0, "pool": "exercises"}
    components: dict[str, Any] = {name: {**single, "sources": sources} for name, sources in SOURCES.items()}
    components["refer"] = {**exercises, "group": "single", "sources": ("grounding", "referring", "screen_*")}
    for name, alpha in choices.alphas.items():
        components[name]["weight"] = alpha
    components["multi"] = {**exercises, "group": "multi", "sources": ("multi_image", "few_shot", "video")}
    components["text"] = {**single, "group": "text", "sources": ("chatter",)}
    kept = {name: components[name] for name in components if name in choices.components}
    shares = {"single": 1.0 - choices.shares.multi - choices.shares.text, **choices.shares}
    groups = {component["group"] for component in kept.values()}
    return {"mixture": kept, "groups": {"single": 1.0} if groups == {"single"} else shares}


def phases(choices: ConfigDict, first: dict[str, Any]) -> dict[str, Any]:
    """The phases by name; `first` is pre-training, which is a separate stage when training from scratch."""
    muon, batch = {"kind": "muon"}, choices.batch.to_dict()
    result: dict[str, Any] = {} if choices.scratch else {"pretrain": first}
    init = "base" if choices.scratch else "pretrain"
    if choices.continual:
        data = {"mixture": continual(choices.continual)}
        result["continual"] = phase(40, 5e-4, init=init, optimizer={"kind": "adafactor"}, **data, **batch)
        init = "continual"
    boxes = {"boxes": {"pool": "single_shapes"}}
    result["boxes"] = phase(130, 2e-3, init=init, mixture=boxes, optimizer=muon, **batch)
    steps = 500 if choices.experts else 800  # a step with experts takes half as long again
    result["sft"] = phase(steps, 1.5e-3, init="boxes", optimizer=muon, **sft(choices), **batch)
    for name, sources in (("video_sft", ("video",)), ("ui", ("screen_*",))):
        if choices.after_sft[name]:
            mixture = {name: {"pool": "exercises", "sources": sources}}
            result[name] = phase(60, 5e-4, init="sft", mixture=mixture, optimizer=muon)
    return result


def pools() -> dict[str, Any]:
    """The generated pools."""
    tasks = {"grounding": 6.0, "referring": 2.0, "screen_grounding": 2.0, "screen_taps": 1.0, "multi_image": 2.0,
             "few_shot": 1.0, "video": 1.0}  # fmt: skip
    generated: dict[str, Any] = {
        "captions": {"captions": {"size": 1500, "seed": 9}},
        "instructions": {"synthetic": {"size": 4000, "seed": 0, "flaw_share": 0.0}},
        "exercises": {"exercises": {"tasks": tasks, "size": 5000, "seed": 2, "frames": 4}},
        "single_shapes": {"exercises": {"tasks": {"locating": 1.0}, "size": 2000, "seed": 3}},
    }
    return {name: {**pool, "verify_images": "header"} for name, pool in generated.items()}


def benchmarks() -> dict[str, Any]:
    """One benchmark for each kind of question, and one for the capabilities."""
    result = {
        name: {"synthetic": {"task": task, "questions": 100, "seed": 5}, "instruction": "", "max_new_tokens": tokens}
        for name, (task, tokens) in TASKS.items()
    }
    result["video"]["frames"] = 4
    result["multi_image"]["synthetic"]["questions"] = 400
    result["capabilities"] = {"synthetic": {"questions": 420, "seed": 1}, "instruction": ""}
    return result


def get_config(arg: str = "") -> ConfigDict:
    """The paper's recipe, or the variants that `arg` names."""
    choices = ConfigDict(CHOICES)
    for name in filter(None, (arg or "").split("+")):
        if name not in VARIANTS:
            raise ValueError(f"no variant is called {name!r}; known are {', '.join(VARIANTS)}")
        choices.update(VARIANTS[name])
    first = phase(100, 1e-3, mixture=pre_training(choices.ratio), optimizer={"final": 0.1, "z_loss": 1e-4})

    c = ConfigDict()
    c.name = f"MM1.5's life cycle, tiny{': ' + arg if arg else ''}"
    c.pools = pools()
    before: tuple[str, ...] = ()
    if choices.scratch:
        before = ("pretrain",)
        preset = "mm15_tiny_moe" if choices.experts else "mm15_tiny"
        c.pretrain = {"preset": preset, "vocab_size": 1536, "phase": {**first, "steps": 1000}}
    else:
        c.base = "base_tiny"
        first |= {"moe": {"experts": choices.experts}} if choices.experts else {}
    if "own" in choices.continual:
        before = (*before, "captions")
        c.captions = {"model": "base", "pool": "instructions", "name": "captioned", "max_new_tokens": 48}
    c.stages = ("ingest", *before, "train", "evaluate", "report")
    c.train = {"phases": phases(choices, first)}
    runs = ("sft", *(name for name in ("video_sft", "ui") if choices.after_sft[name]))
    c.evaluate = {
        "benchmarks": benchmarks(),
        "runs": runs,
        "blind": runs,
        "max_new_tokens": 12,
        "answerer": {"rows": 24},
        "averages": {
            "refer_ground": ("grounding", "referring", "screens"),
            "several_pictures": ("multi_image", "few_shot", "video"),
        },
    }
    return c
