r"""One replicate of the comparison that decides whether mmSSR is worth its cost: methods x budgets, on the tile world.

    python -m mmssr_jax.main --config=configs/evidence.py --workdir=runs/evidence/0/ours
    python -m mmssr_jax.main --config=configs/evidence.py:3/paper/expected-p10 --workdir=runs/evidence/3/paper
    python benchmarks/evidence.py --workdir=runs/evidence --seeds=5-9

The argument is REPLICATE[@SCALE][/VARIANT[/ARM,ARM,...]]. A replicate redraws pool, benchmark, judged sample, judge's
noise, scorer, draws and training seed, all from its number. A variant is a change of the experiment with a workdir of
its own. An arm is one training run: METHOD-BUDGET, METHOD-BUDGET-START, METHOD-BUDGET-START-TIMES (as many times the
steps), `full` (the whole pool) or `base` (the start, not trained). The third command runs what docs/evidence/ does not
hold yet, and writes it there: 155 trainings and 10 scorers for the main comparison, predicted 1.9 h on two cores. Seen:
docs/evidence.md.

This is the second comparison. In the first, on replicates 0 to 4, mmSSR took of each capability the best calibrated
scores, 1.5 times its share of the budget, and lost at a tenth: -3.3 (-6.6 to -0.1). Two causes were found in its
selections (docs/evidence.md): equal scores at the top of the scale left up to four capabilities without a sample, a
fault of the program, and the few best samples of a capability were all alike. The rule of this comparison was chosen on
replicates 100 to 102, which are in no table.

Choices made before its first run:

* **Primary endpoint**: `PRIMARY`. Every other comparison is adjusted by Holm's method.
* **Length**: `EPOCHS` passes over the selection, as in the paper, not one number of steps for all budgets: a tenth then
  costs a tenth of `full`, so that a cost and a break-even exist. They are counted in steps of `SAMPLES_PER_STEP`, what
  a batch of the whole pool holds, so that all arms of a budget train for as many steps and on as many tokens: a
  selection of long samples is seen less often. A tenth of 4,000 samples is 238 steps; configs/ladder.py has 300.
* **Two scorers**: "ours" (`recipe`) and "paper" (from the same base, trained on the judged samples only) are variants,
  because a workdir holds one scorer. Both write expected and calibrated scores, so that the method
  `expected` (expected scores above 0.5, best first, the counterpart of the published rule "more than 0") and the method
  `mmssr` (calibrated scores above 2.5, a rating of 3, and among the best 3 times the capability's share of the budget;
  of these at random, as in configs/tiny.py, which also filters) make 2 x 2 with the two. `expected` of "paper" is the
  paper's.
* **Methods**: what a diagnosis needs. `balanced` (random, equally many of each source) rather than `proportional`,
  which differs from `random` by less than its noise; `matched` for the mixture; `top` for scores without mmSSR's rule;
  `oracle` for a perfect scorer, `oracle_top` for that without the rule, `unflawed` for a perfect filter; `longest`.
  The family `filter` was added when the main comparison was known; it was chosen on replicates 100 to 102.
* **Replicates** are seeded from `FIRST_SEED` on: neither the world (100 and 101, rungs 0 to 9) nor a scorer (0, 1) was
  tuned on these, nor the rule on 5 to 9.

`recipe` takes over what configs/tiny.py does to make a scorer.
"""

import dataclasses
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mmssr_jax.core.vocabulary import SLUGS

EPOCHS = 25
SAMPLES_PER_STEP = 42  # three in each of 14 rows
PRIMARY: dict[str, Any] = {
    "method": "ours/mmssr-p10",
    "baseline": "ours/random-p10",
    "epochs": EPOCHS,
    "measure": "acc_norm over option texts, mean over skills",
}
BUDGETS = {"p05": {"ratio": 0.05}, "p10": {"ratio": 0.1}, "p30": {"ratio": 0.3}}
SEEDS = "5-9"  # the replicates of this comparison
FIRST_SEED = 1000
BENCHMARK_SEED = 100_000  # plus the replicate's
OCR = "optical_character_recognition"
LAYERS = (0, 1, 2)  # of base_tiles, all that it has, for the rivals' features
# Candidates are the 60 % of the pool whose answers are least unlikely for their words.
UNSURPRISING: dict[str, Any] = {"features": ("surprise",), "lowest": {"surprise": 0.6}}
OTHER_START = "base_tiny"  # 4 layers of 160 channels beside the 3 of 96 of base_tiles; it never saw the tile world


@dataclasses.dataclass(frozen=True)
class Scale:
    """The size of a replicate.

    Attributes:
      pool, questions, judged: samples of the pool, questions of the benchmark, judged samples.
      epochs: of every arm; see the module.
      warm_up, steps: of the scorer.
      measured, pairs: samples and counterfactual pairs that the scorer is measured on.
    """

    pool: int = 4000
    questions: int = 840
    judged: int = 1000
    epochs: float = EPOCHS
    warm_up: int = 380
    steps: int = 280
    measured: int = 300
    pairs: int = 60

    @property
    def tokens(self) -> int:
        """A tenth of the pool's tokens, with 56 tokens a sample."""
        return round(5.6 * self.pool)

    def steps_of(self, arm: "Arm") -> int:
        """The steps of an arm's training."""
        share = {**BUDGETS, "tokens": BUDGETS["p10"]}[arm.budget]["ratio"] if arm.selects else 1.0
        return max(round(share * self.pool * self.epochs * float(arm.times) / SAMPLES_PER_STEP), 1)


SCALES = {
    "": Scale(),
    "small": Scale(pool=400, questions=28, judged=320, epochs=2, warm_up=4, steps=220, measured=20, pairs=4),
}


def phase(learning_rate: float = 3e-3, **more: Any) -> dict[str, Any]:
    """A training phase; see `PhaseConfig` in mmssr_jax/stages/train/phase_config.py."""
    optimizer = {"kind": "muon", "learning_rate": learning_rate, "weight_decay": 0.02, "b2": 0.98}
    return {"rows": 14, "length": 160, "images": 3, "targets": 24, "optimizer": optimizer, **more}


def recipe(scale: Scale, seed: int) -> dict[str, dict[str, Any]]:
    """The sections that make the scorer and its scores, as in configs/tiny.py."""
    return {
        "scorer": {"max_prefix": 96, "holdout": 0.25, "holdout_seed": seed},
        "train_scorer": {
            "base": "base_tiles_scorer",
            "warm_up": phase(1.5e-3, steps=scale.warm_up, rows=4, length=512, images=16, targets=128, seed=seed),
            "phase": phase(2e-3, steps=scale.steps, rows=8, length=576, images=8, targets=160, seed=seed),
            "answer_weight": 1.0,
            "answer_q": 0.3,
            "replay": 0.6,
        },
        "score": {
            "shards": 4,
            "buckets": {"rows": 16, "lengths": (256, 288), "images": (1,)},
            "details": True,
            "calibration": "fit_held_out",
        },
    }


def methods(budget: str) -> dict[str, dict[str, Any]]:
    """Every way to select, by name.

    Args:
      budget: its name, for the control that refers to another selection.
    """
    share = BUDGETS.get(budget, BUDGETS["p10"])["ratio"] / len(SLUGS)
    ours = {"calibrated": True, "threshold_quantile": round(1 - 3 * share, 4), "least_threshold": 2.5, "take": "random"}
    among_more = {**ours, "threshold_quantile": round(1 - 4 * share, 4)}
    return {
        "random": {"method": "random"},
        "balanced": {"method": "stratified", "stratified": "equal"},
        "longest": {"method": "length"},
        "matched": {"method": "matched", "like": f"mmssr-{budget}"},
        "top": {"method": "rating_threshold", "calibrated": True},
        "expected": {"method": "mmssr", "threshold": 0.5},
        "mmssr": {"method": "mmssr", **ours},
        "unflawed": {"method": "unflawed"},
        "oracle": {"method": "oracle", "threshold": 2.5, "take": "random"},
        "oracle_top": {"method": "oracle_rating"},
        # of the ablations
        "likelihood": {"method": "feature", "feature": "nll", "take": "lowest", "features": ("scores",)},
        "arg_max": {"method": "arg_max", "features": ("digits",)},
        "placebo": {"method": "placebo", **ours},
        "sources": {"method": "regrouped", "groups": "sources", **ours},
        "styles": {"method": "regrouped", "groups": "styles", **ours},
        "ungrouped": {"method": "regrouped", "groups": "none", **ours},
        "ocr": {"method": "mmssr", "calibrated": True, "threshold": 0.5, "capabilities": (OCR,)},
        "best_first": {"method": "mmssr", **ours, "take": "best"},
        "few_best": {"method": "mmssr", "calibrated": True, "threshold_quantile": round(1 - 1.5 * share, 4)},
        "few": {"method": "mmssr", **ours, "threshold_quantile": round(1 - 1.5 * share, 4)},
        "best_tenth": {"method": "mmssr", **ours, "threshold_quantile": 0.9},
        "rated_3": {"method": "mmssr", "calibrated": True, "threshold": 2.5, "take": "random"},
        "unsurprising": {"method": "random", **UNSURPRISING},
        "mmssr_unsurprising": {"method": "mmssr", **among_more, **UNSURPRISING},
        "grown": {
            "method": "mmssr",
            "threshold": 0.5,
        },  # expected scores: a calibration knows its own capabilities only
        **rivals(),
    }


TRUTH = ("unflawed", "oracle", "oracle_top")  # they read the pool's truth
FILTERED = ("unsurprising", "mmssr_unsurprising")
UNSCORED = ("random", "balanced", *TRUTH)  # they read no score table
UPSTREAM = ("proxy", "warm_up")  # models that rivals' features come from; not evaluated


def rivals() -> dict[str, dict[str, Any]]:
    """The published methods of configs/rivals.py, but for those that read ratings which this world has no truth of."""
    listed = runpy.run_path(str(Path(__file__).with_name("rivals.py")))["computed"](LAYERS)
    return {name: section for name, section in listed.items() if "scores" not in section["features"]}


def rival_features() -> dict[str, Any]:
    """The section `score.features` of configs/rivals.py."""
    listed = runpy.run_path(str(Path(__file__).with_name("rivals.py")))["get_config"]().score.features
    return {**listed.to_dict(), "layers": LAYERS}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A change of the experiment.

    Attributes:
      changes: given the scale and the seed, dotted key of the config -> value.
      after: the variants whose files `flags` name.
      flags: of the program; {NAME} is the workdir of variant NAME of the same replicate.
      pool: what the size of the pool is multiplied with.
    """

    changes: Callable[[Scale, int], Mapping[str, Any]] = lambda scale, seed: {}
    after: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    pool: float = 1.0


def _fixed(**changes: Any) -> Variant:
    """A variant of settings that are always the same; `__` stands for the dot of a key."""
    plain = {name.replace("__", "."): value for name, value in changes.items()}
    return Variant(lambda scale, seed: plain)


def _paper(scale: Scale, seed: int) -> dict[str, Any]:
    """The paper's scorer: trained on all judged samples and nothing else; a calibration can be fitted on them only."""
    train = {key: recipe(scale, seed)["train_scorer"][key] for key in ("base", "phase")}
    return {"train_scorer": train, "scorer.holdout": 0.0, "score.calibration": "fit"}


def _without(*settings: str) -> Callable[[Scale, int], dict[str, Any]]:
    """Our scorer without some settings of its training."""
    return lambda scale, seed: {
        "train_scorer": {k: v for k, v in recipe(scale, seed)["train_scorer"].items() if k not in settings}
    }


def _noise(off_by_one: float, false_trace: float, wrong_style: float) -> Variant:
    names = {"off_by_one": off_by_one, "false_trace": false_trace, "wrong_style": wrong_style}
    return _fixed(**{f"judge__oracle__{name}": value for name, value in names.items()})


def _judged(share: float) -> Variant:
    """Another number of judged samples, as a share of the pool."""
    return Variant(lambda scale, seed: {"judge.count": round(share * scale.pool)})


def _other_world(scale: Scale, seed: int) -> dict[str, Any]:
    """The scorer of "ours" on the pool of the other generated world: other sources, styles, images and words."""
    return {
        "pool": {"synthetic": {"size": scale.pool // 2, "seed": seed}, "verify_images": "header"},
        "scorer.max_prefix": 384,
        "score.buckets": {"rows": 8, "lengths": (256, 320, 384, 448, 640), "images": (0, 1, 2, 4)},
        "score.calibration": "none",  # "fit" would learn from this pool's ratings
        "stages": ("ingest", "judge", "score"),
    }


def _warmed_by_ours(variant: Variant) -> Variant:
    """The variant, with the warm-up of "ours": it needs no ratings, so that it is the same where only these differ."""
    base = "--config.train_scorer.base={ours}/checkpoints/scorer_warm_up"
    return dataclasses.replace(
        variant, after=(*variant.after, "ours"), flags=(*variant.flags, "--config.train_scorer.warm_up=none", base)
    )


def _some_capabilities(chosen: Sequence[str]) -> Callable[[Scale, int], dict[str, Any]]:
    return lambda scale, seed: {"scorer.capabilities": tuple(chosen), "score.calibration": "none"}


_BY_RATINGS: dict[str, Variant] = {
    **{f"judged_{n}": _judged(n / 4000) for n in (100, 300, 3000)},
    "noise_0": _noise(0.0, 0.0, 0.0),
    "noise_2": _noise(0.4, 0.06, 0.06),
    "one_added": Variant(_some_capabilities((OCR,))),
    "thirteen": Variant(
        _some_capabilities([s for s in SLUGS if s != OCR]), ("one_added",),
        ("--config.select.selections.grown-p10.extra_scores={one_added}/scores",),
    ),
}  # fmt: skip
WARMED_BY_OURS = tuple(_BY_RATINGS)

VARIANTS: dict[str, Variant] = {
    "ours": Variant(),
    "paper": Variant(_paper),
    "not_kept": Variant(_without("answer_weight", "replay")),
    "cross_entropy": Variant(_without("answer_q")),
    **{name: _warmed_by_ours(variant) for name, variant in _BY_RATINGS.items()},
    **{f"flaws_{share}": _fixed(pool__tiles__flaw_share=share / 100) for share in (0, 10, 50)},
    "pool_half": Variant(pool=0.5),
    "other_world": Variant(
        _other_world, ("ours",),
        ("--config.score.model={ours}/checkpoints/scorer",
         "--config.score.quality.in_domain={ours}/results/scorer.json"),
    ),
}  # fmt: skip

TEN = ("random", "balanced", "longest", "matched", "top", "mmssr", "unflawed", "oracle", "oracle_top")  # + paper's


def _at(budget: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{name}-{budget}" for name in names)


FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "main": {
        "ours": ("base", "full", *(arm for b in BUDGETS for arm in _at(b, *TEN)), "scorer"),
        "paper": (*(arm for b in BUDGETS for arm in _at(b, "expected")), "scorer"),
    },
    "equal_tokens": {  # without the three that read the truth, which has no token counts
        "ours": _at("tokens", *(m for m in TEN if m not in TRUTH)), "paper": _at("tokens", "expected"),
    },
    "flaw_free": {"flaws_0": ("base", *_at("p10", *(m for m in TEN if m != "unflawed")), "scorer")},
    "ablations": {
        "ours": (
            *_at("p10", "expected", "likelihood", "placebo", "sources", "styles", "ungrouped", "ocr", "best_first",
                 "few_best", "few", "best_tenth", "rated_3"),
            "random-p10-base-2", "mmssr-p10-base-2",
        ),
        "paper": _at("p10", "mmssr", "arg_max"),
        "not_kept": (*_at("p10", "expected", "mmssr"), "scorer"),
        **{name: (*_at("p10", "mmssr"), "scorer")
           for name in ("cross_entropy", "judged_100", "judged_300", "judged_3000", "noise_0", "noise_2")},
        **{name: (*_at("p10", "random", "mmssr"), "scorer") for name in ("flaws_10", "flaws_50", "pool_half")},
    },
    "transfer": {
        "ours": (f"base-none-{OTHER_START}", *(f"{m}-p10-{OTHER_START}" for m in ("random", "mmssr"))),
        "other_world": ("scorer",),
        "one_added": ("scorer",),
        "thirteen": ("grown-p10", "scorer"),
    },
    "filter": {
        "ours": tuple(arm for b in BUDGETS for arm in _at(b, *FILTERED)), "flaws_0": _at("p10", *FILTERED),
    },
    "rivals": {"ours": _at("p10", *rivals())},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Arm:
    """A training run by its name, METHOD-BUDGET-START-TIMES.

    Attributes:
      method: a key of `methods`, or `full`, `base`, `scorer` (the scorer's own results), or one of `UPSTREAM`.
      budget: a key of `BUDGETS`, "tokens", or "none".
      start: the model that it starts from.
      times: what its steps are multiplied with.
    """

    method: str
    budget: str = "none"
    start: str = "base"
    times: str = "1"

    @property
    def selects(self) -> bool:
        """Whether it is trained on a selection."""
        return self.budget != "none"

    @property
    def scored(self) -> bool:
        """Whether it needs the score table."""
        return self.method == "scorer" or (self.selects and (self.method not in UNSCORED or self.budget == "tokens"))

    @property
    def trained(self) -> bool:
        """Whether it is a training run."""
        return self.method not in ("base", "scorer")

    @property
    def evaluated(self) -> bool:
        """Whether it answers the benchmark."""
        return self.method not in ("scorer", *UPSTREAM)


def _selections(arms: Mapping[str, Arm], scale: Scale, seed: int) -> dict[str, dict[str, Any]]:
    """The selections of arms, with those that they refer to."""
    budgets, chosen = {**BUDGETS, "tokens": {"tokens": scale.tokens}}, {}
    for arm in arms.values():
        name, known = f"{arm.method}-{arm.budget}", methods(arm.budget)
        while arm.selects and name not in chosen:
            if name.partition("-")[0] not in known or arm.budget not in budgets:
                raise ValueError(
                    f"there is no arm {name}; methods are {', '.join(known)}, budgets {', '.join(budgets)}"
                )
            chosen[name] = {**known[name.partition("-")[0]], "budget": budgets[arm.budget], "seed": seed}
            name = chosen[name].get("like", name)
    return {name: chosen[name] for name in sorted(chosen)}


def _phase_of(arm: Arm, scale: Scale, seed: int) -> dict[str, Any]:
    if arm.method == "proxy":
        return phase(steps=scale.steps, seed=seed, checkpoint_every=max(scale.steps // 5, 1), keep_all=True)
    if arm.method == "warm_up":
        adapters = {"kind": "muon", "learning_rate": 3e-3, "weight_decay": 0.0, "b2": 0.98}
        return {**phase(steps=scale.steps, seed=seed), "optimizer": adapters, "lora": {"rank": 8, "alpha": 16.0}}
    selection = {"selection": f"{arm.method}-{arm.budget}"} if arm.selects else {}
    start = {} if arm.start == "base" else {"init": arm.start}
    return phase(steps=scale.steps_of(arm), seed=seed, **selection, **start)


def _changed(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The config with other values at dotted keys; those of sections that these arms do not need are left out."""
    for key, value in changes.items():
        *sections, last = key.split(".")
        if (sections or [last])[0] in config:
            place = config
            for name in sections:
                place = place[name]
            place[last] = value
    return config


def parse(argument: str) -> tuple[int, str, str, dict[str, Arm]]:
    """Replicate, scale, variant and arms of an argument.

    Raises:
      ValueError: one of them does not exist.
    """
    replicate, _, rest = argument.partition("/")
    variant, _, names = rest.partition("/")
    replicate, _, scale = replicate.partition("@")
    variant = variant or "ours"
    if scale not in SCALES or variant not in VARIANTS:
        raise ValueError(f"{argument}: scales are {', '.join(SCALES)}; variants are {', '.join(VARIANTS)}")
    chosen = names.split(",") if names else FAMILIES["main"].get(variant, _at("p10", "random", "mmssr"))
    arms = {name: Arm(*name.split("-")) for name in chosen}
    wrong = [n for n, a in arms.items() if not a.selects and a.method not in ("base", "full", "scorer", *UPSTREAM)]
    if wrong:
        raise ValueError(f"{argument}: there is no arm {wrong[0]}; one is METHOD-BUDGET, full, base or scorer")
    return int(replicate), scale, variant, arms


def get_config(argument: str = "0") -> ConfigDict:
    """The arms of one variant of one replicate, with all that they need and nothing else."""
    replicate, scale_name, variant, arms = parse(argument)
    scale, seed = SCALES[scale_name], FIRST_SEED + replicate
    scale = dataclasses.replace(scale, pool=round(VARIANTS[variant].pool * scale.pool))
    scored, runs = any(a.scored for a in arms.values()), [n for n, a in arms.items() if a.evaluated]
    selections = _selections(arms, scale, seed)
    c: dict[str, Any] = {"name": f"evidence, replicate {replicate}, {variant}", "base": "base_tiles"}
    stages = [
        "ingest", *(("judge", "train_scorer", "score") if scored else ()), *(("select",) if selections else ()),
        *(("train",) if any(a.trained for a in arms.values()) else ()), *(("evaluate",) if runs else ()),
    ]  # fmt: skip
    c["stages"] = tuple(stages)
    c["pool"] = {"tiles": {"size": scale.pool, "seed": seed}, "verify_images": "header"}
    if scored:
        c["judge"] = {"backend": "oracle", "count": scale.judged, "seed": seed, "oracle": {"seed": seed}}
        c |= recipe(scale, seed)
        c["score"]["quality"] = {"samples": scale.measured, "pairs": scale.pairs, "seed": seed}
    if any(methods(a.budget).get(a.method, {}).get("features") == ("surprise",) for a in arms.values()):
        c["score"]["surprise"] = True
    if any(a.method in rivals() for a in arms.values()):
        c["pools"] = {"dev": {"tiles": {"size": 120, "seed": BENCHMARK_SEED + 50_000 + seed, "flaw_share": 0.0},
                              "verify_images": "header"}}  # fmt: skip
        c["score"]["features"] = rival_features()
    if selections:
        c["select"] = {"selections": selections}
    if any(a.trained for a in arms.values()):
        c["train"] = {"phases": {n: _phase_of(a, scale, seed) for n, a in arms.items() if a.trained}}
    if runs:
        task = {"questions": scale.questions, "seed": BENCHMARK_SEED + seed, "task": "tiles"}
        c["evaluate"] = {
            "benchmarks": {"tiles": {"synthetic": task, "instruction": ""}}, "runs": tuple(_run(n, arms) for n in runs),
            "answering": "rank", "answerer": {"rows": 64},
        }  # fmt: skip
    return ConfigDict(_changed(c, VARIANTS[variant].changes(scale, seed)))


def _run(name: str, arms: Mapping[str, Arm]) -> str:
    """The model that is evaluated: the arm's run, or the start itself."""
    return arms[name].start if arms[name].method == "base" else name
