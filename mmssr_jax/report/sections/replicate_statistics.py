"""Comparison over replicates: the primary endpoint and the gain split in words, and a table of all comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmssr_jax.report.blocks import Block, Fold, Note, Table
from mmssr_jax.report.numbers import NONE, count, fixed, format_interval, signed

_ALL = "all"
_LOWER_IS_BETTER = ("nll", "nll_per_token")
_P_DIGITS = 3


def replicate_notes(replicates: Mapping[str, Any]) -> list[Note]:
    """The primary endpoint and the gain split, each in words; without those that are not configured.

    Args:
      replicates: the field of that name of `results/comparison.json`.
    """
    notes = []
    if "primary" in replicates:
        notes.append(_primary_note(replicates["primary"]))
    if "split" in replicates:
        notes += [_split_note(replicates["split"], measure) for measure in replicates["family"]]
    return notes


def replicate_blocks(replicates: Mapping[str, Any]) -> list[Block]:
    """The comparisons of the family, and those of all other measures in a fold."""
    tables = [_table(replicates, in_family=True), _table(replicates, in_family=False)]
    blocks: list[Block] = [tables[0]] if tables[0].rows else []
    return blocks + ([Fold("Other measures over replicates", [tables[1]])] if tables[1].rows else [])


def _primary_note(primary: Mapping[str, Any]) -> Note:
    text = (
        f"Primary endpoint, named in the config: {primary['group']} − {primary['baseline']} on "
        f"{_name(primary['measure'])}: {_in_words(primary)}. {_conclusion(primary)}"
    )
    if "power" in primary:
        power = primary["power"]
        text += (
            f" An effect of {fixed(power['effect'])} was to be found with probability {fixed(power['power'])}, which "
            f"takes {count(power['replicates_needed'])} replicates at the expected deviation of "
            f"{fixed(power['deviation'])}; there are {count(power['replicates'])}."
        )
    return Note(text, "finding" if _excludes_zero(primary) else "alarm")


def _conclusion(entry: Mapping[str, Any]) -> str:
    if entry["low"] is None:
        return "One replicate: the difference has no interval."
    if not _excludes_zero(entry):
        return "The interval includes zero: no difference is shown."
    better = (entry["mean"] < 0) == (entry["measure"].rpartition("/")[2] in _LOWER_IS_BETTER)
    return f"The interval excludes zero: {entry['group']} is {'better' if better else 'worse'}."


def _split_note(split: Mapping[str, Any], measure: str) -> Note:
    parts = split["measures"][measure]
    method, matched, random = split["method"], split["matched"], split["random"]
    return Note(
        f"Where the gain comes from ({_name(measure)}): {method} − {random} is {_in_words(parts['gain'])}. The mixture "
        f"of sources and styles ({matched} − {random}) contributes {_short(parts['mixture'])}; the scores "
        f"({method} − {matched}) contribute {_short(parts['scores'])}: {_scores_in_words(parts['scores'])}. Predicted "
        "styles count as mixture.",
        "finding",
    )


def _scores_in_words(entry: Mapping[str, Any]) -> str:
    if entry["low"] is None:
        return "one replicate, no interval"
    return "clear of zero" if _excludes_zero(entry) else "not distinguishable from zero"


def _in_words(entry: Mapping[str, Any]) -> str:
    interval = "no interval" if entry["low"] is None else f"95 % interval {_signed_interval(entry)}"
    return f"{signed(entry['mean'])}, {interval} over {count(entry['replicates'])} replicates"


def _short(entry: Mapping[str, Any]) -> str:
    return signed(entry["mean"]) + ("" if entry["low"] is None else f" ({_signed_interval(entry)})")


def _signed_interval(entry: Mapping[str, Any]) -> str:
    return NONE if entry["low"] is None else f"{signed(entry['low'])} to {signed(entry['high'])}"


def _excludes_zero(entry: Mapping[str, Any]) -> bool:
    return entry["low"] is not None and (entry["low"] > 0 or entry["high"] < 0)


def _name(measure: str) -> str:
    """`all/skills` -> "mean of all, over skills"; `quiz/nll` -> "quiz, nll"."""
    base, _, part = measure.partition("/")
    name = "mean of all" if base == _ALL else base
    return name + (", over skills" if part == "skills" else f", {part}" if part else "")


def _table(replicates: Mapping[str, Any], *, in_family: bool) -> Table:
    rows = []
    for group, measures in replicates["comparisons"].items():
        for measure, entry in measures.items():
            if (measure in replicates["family"]) == in_family:
                p = [fixed(entry["p"], _P_DIGITS)] + ([fixed(entry["p_holm"], _P_DIGITS)] if in_family else [])
                interval = format_interval([entry["low"], entry["high"]])
                rows.append((group, _name(measure), signed(entry["mean"]), interval, count(entry["replicates"]), *p))
    adjusted = ["p (Holm)"] if in_family else []
    header = ["trained on", "measure", "difference", "95 % over replicates", "replicates", "p", *adjusted]
    title = f"Difference from {replicates['baseline']} over replicates"
    note = "Differences inside a replicate, with Student's t interval over replicates. "
    note += (
        "Holm's correction is over all groups, the scores' part of the gain and the measures of this table."
        if in_family
        else "p is not corrected. nll is lower where better; a mean over skills weighs categories equally."
    )
    return Table(
        header, rows, numeric=range(2, len(header)), title=title if in_family else f"Other measures: {title}",
        note=note,
    )  # fmt: skip
