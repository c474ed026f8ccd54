"""Which cells of configs/evidence.py are there, and how the others are run: behind benchmarks/evidence.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from benchmarks.replicate import REPO, run_config
from configs import evidence
from mmssr_jax.core.artifact import input_digest, library_versions
from mmssr_jax.core.config import fingerprint, to_plain
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.evaluation.break_even import SELECTION_STAGES, stage_seconds
from mmssr_jax.evaluation.evidence_cells import ArmResult, read_cell, read_cells, scorer_numbers, write_results

BENCHMARK, KIND, MEASURE = "tiles", "mixed", "acc_norm"
Plan = dict[str, tuple[str, ...]]  # variant -> arms


def replicates(text: str) -> list[int]:
    """The numbers of "0-2,7".

    Raises:
      ValueError: it is no list of numbers and ranges.
    """
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def planned(family: str, only: Sequence[str] = ()) -> Plan:
    """The cells of a family, or those that `only` names.

    Raises:
      ValueError: a name is no cell of the family.
    """
    plan, found = {}, set()
    for variant, arms in evidence.FAMILIES[family].items():
        names = {arm: {arm, arm.partition("-")[0], f"{variant}/{arm}"} for arm in arms}
        plan[variant] = tuple(arm for arm in arms if not only or names[arm] & set(only))
        found |= {name for arm in arms for name in names[arm]}
    if set(only) - found:
        raise ValueError(f"--only: {', '.join(sorted(set(only) - found))}: no cell of the family {family}")
    return {variant: arms for variant, arms in plan.items() if arms}


def inputs_of(seed: int, scale: str, variant: str, arm: str, further: Sequence[str] = ()) -> str:
    """The fingerprint of all settings that a cell depends on.

    Args:
      seed, scale, variant, arm: name the cell.
      further: flags of the program.
    """
    config = to_plain(evidence.get_config(_argument(seed, scale, variant, [arm])))
    for name in ("name", "stages"):
        config.pop(name)
    if arm != "scorer":
        config.get("score", {}).pop("quality", None)  # of the measurement of the scorer
    earlier = {}
    if "score" in config:
        changed = evidence.VARIANTS[variant]
        earlier = {name: inputs_of(seed, scale, name, "scorer", further) for name in changed.after}
        further = (*further, *changed.flags)
    if evidence.Arm(*arm.split("-")).method in evidence.rivals():
        earlier |= {name: inputs_of(seed, scale, variant, name, further) for name in evidence.UPSTREAM}
    starts = {config["base"], *(p.get("init", config["base"]) for p in _phases(config))}
    starts |= {base for base in [config.get("train_scorer", {}).get("base")] if base is not None}
    models = {name: _model_digest(name) for name in sorted(starts)}
    given = [flag for flag in further if not flag.startswith("--overwrite")]
    return fingerprint({"config": config, "models": models, "flags": given, "earlier": earlier})


def _phases(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(config.get("train", {}).get("phases", {}).values())


def _model_digest(name: str) -> str:
    """The identity of a shipped model; of others, their flag tells."""
    weights = REPO / "mmssr_jax" / "assets" / name / "model.safetensors"
    return input_digest(weights) if weights.exists() else name


def _argument(seed: int, scale: str, variant: str, arms: Sequence[str]) -> str:
    return f"{seed}{'@' * bool(scale)}{scale}/{variant}/{','.join(arms)}"


def config_hash(family: str, scale: str) -> str:
    """The fingerprint of a family's configs, with the seeds of replicate 0, and of the primary endpoint."""
    configs = {
        variant: to_plain(evidence.get_config(_argument(0, scale, variant, arms)))
        for variant, arms in evidence.FAMILIES[family].items()
    }
    return fingerprint({"primary": evidence.PRIMARY, "configs": configs})


class Replicate:
    """One replicate's cells: what is there, and how the rest is run.

    Args:
      seed, scale: which one.
      folder: holds a workdir a variant.
      further: flags of the program.
    """

    def __init__(self, seed: int, scale: str, folder: Path, further: Sequence[str]):
        self._seed, self._scale, self._folder, self._further = seed, scale, folder, further

    def workdir(self, variant: str) -> Workdir:
        """Of a variant."""
        return Workdir(self._folder / str(self._seed) / variant)

    def inputs(self, variant: str, arm: str) -> str:
        """See `inputs_of`."""
        return inputs_of(self._seed, self._scale, variant, arm, self._further)

    def run(self, variant: str, arms: Sequence[str]) -> None:
        """Runs arms of a variant, after all that they need of other variants and runs."""
        changed, own = evidence.VARIANTS[variant], [*self._further]
        scored = any(evidence.Arm(*arm.split("-")).scored for arm in arms)
        if scored:
            for name in changed.after:
                self.run(name, ["scorer"])
            places = {name: self.workdir(name).root for name in changed.after}
            own += [flag.format(**places) for flag in changed.flags if _names_a_part(flag, arms)]
        if any(evidence.Arm(*arm.split("-")).method in evidence.rivals() for arm in arms):
            run_config("evidence", self._of(variant, evidence.UPSTREAM), self.workdir(variant).root, own)
        run_config("evidence", self._of(variant, arms), self.workdir(variant).root, own)

    def _of(self, variant: str, arms: Sequence[str]) -> str:
        return _argument(self._seed, self._scale, variant, arms)

    def cell(self, variant: str, name: str) -> ArmResult:
        """The result of an arm that was run."""
        arm, config = evidence.Arm(*name.split("-")), evidence.get_config(self._of(variant, [name]))
        return read_cell(
            self.workdir(variant), config.evaluate.runs[0], benchmark=BENCHMARK, kind=KIND, measure=MEASURE,
            selection=f"{arm.method}-{arm.budget}" if arm.selects and arm.trained else None,
            inputs=self.inputs(variant, name), needs=[s for s in config.stages if s in SELECTION_STAGES],
        )  # fmt: skip


def _names_a_part(flag: str, arms: Sequence[str]) -> bool:
    """Whether a flag sets something that the config of these arms has: a selection of another arm is not there."""
    words = flag.split(".")
    return "selections" not in words or words[words.index("selections") + 1] in arms


def complete(replicate: Replicate, seed: int, plan: Plan, path: Path, hashed: str) -> None:
    """Runs what is missing of a replicate, and writes the file after every variant."""
    content, cells = read_cells(path)
    content = {"replicate": seed, "scorers": {}, "stages": {}, **content}
    content |= {"config": hashed, "libraries": library_versions()}
    for variant, arms in plan.items():
        missing = missing_arms(replicate, variant, arms, content["scorers"], cells)
        logging.info(
            "replicate %d, %s: %d of %d to run: %s", seed, variant, len(missing), len(arms), ", ".join(missing)
        )
        if not missing:
            continue
        replicate.run(variant, missing)
        for arm in missing:
            if arm == "scorer":
                numbers = {"inputs": replicate.inputs(variant, arm), **scorer_numbers(replicate.workdir(variant))}
                content["scorers"][variant] = numbers
            else:
                cells[f"{variant}/{arm}"] = replicate.cell(variant, arm)
        content["stages"][variant] = stage_seconds(replicate.workdir(variant))
        write_results(path, content, cells)


def missing_arms(
    replicate: Replicate, variant: str, arms: Sequence[str], scorers: Mapping[str, Any], cells: Mapping[str, ArmResult]
) -> list[str]:
    """The arms whose inputs are not those of a result that is there."""
    known = {arm: cells[f"{variant}/{arm}"].inputs for arm in arms if f"{variant}/{arm}" in cells}
    known |= {"scorer": scorers[variant]["inputs"]} if variant in scorers else {}
    return [arm for arm in arms if known.get(arm) != replicate.inputs(variant, arm)]


def compare_again(replicate: Replicate, plan: Plan, cells: Mapping[str, ArmResult]) -> bool:
    """Runs cells that are there; returns whether all predictions have the same digest."""
    same = True
    for variant, arms in plan.items():
        known = [arm for arm in arms if f"{variant}/{arm}" in cells]
        if known:
            replicate.run(variant, known)
        for arm in known:
            old, new = cells[f"{variant}/{arm}"], replicate.cell(variant, arm)
            equal = old.predictions == new.predictions
            same &= equal
            print(f"{variant}/{arm}: {old.value:.4f}, again {new.value:.4f}; {'the same' if equal else 'other'} bytes")
    return same
