"""What a user may say about one selection, and the selector it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from mmssr_jax.selection.base import Budget, Selector
from mmssr_jax.selection.methods.feature import FeatureSelector, VotesSelector
from mmssr_jax.selection.methods.length import LengthSelector
from mmssr_jax.selection.methods.mmssr import MmssrSelector
from mmssr_jax.selection.methods.random import RandomSelector
from mmssr_jax.selection.methods.stratified import StratifiedSelector
from mmssr_jax.selection.screening.decontaminate import Decontaminate
from mmssr_jax.selection.screening.near_duplicates import NearDuplicates

Method = Literal["mmssr", "random", "length", "stratified", "feature", "votes"]
Format = Literal["csv", "hf_parquet", "webdataset", "mixture", "datacomp", "official", "packed"]


@dataclasses.dataclass(frozen=True)
class RowFilter:
    """Rows named by their source, by a style they have in any slot, or by their id.

    Attributes:
      sources: names of sources.
      styles: names of styles.
      ids: a file with one id a line (`ids.txt` of a selection is one), or None.
    """

    sources: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    ids: str | None = None


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """One selection.

    What is odd has a defined result. Refused with one line: a score below 0 or above 5 or infinite, an id that is
    there twice or is not in the pool, a capability that is all 0, all missing, or degenerate by the scorer's own
    evaluation, a name of a source, style or capability that no row has, a budget of 0 or of more samples than the pool
    has. Allowed: a missing score (NaN or null: the sample is not eligible for that capability); a row without a style
    (mmssr cannot choose it: it is in no group, and is counted); a style beside the nine (a group of its own, with a
    warning); a ratio of 1 (all that is eligible, in order); a ratio of less than one sample, or filters that leave
    nothing (nothing is selected, with a warning); fewer eligible samples than the budget (the selection ends short,
    and says so).

    Attributes:
      method: mmssr, or a rival that needs no scores of capabilities: random, length, stratified; by the numbers of
        feature tables: feature, votes.
      budget: how much; see `Budget`.
      budgets: several budgets at once, by name, instead of `budget`: selections/<selection>-<name>.
      nested: whether a larger budget of `budgets` contains the smaller ones: the smallest is exact, the others go on.
      seed: decides every tie, and what random and stratified choose.
      tie_break: equal scores by a seeded hash of the id, or by file order.
      capabilities, threshold, thresholds, weights, cap_takes: of mmssr, see `MmssrSelector`.
      length: which end the length method begins with.
      stratified: shares of the sources by size, or the same number of each.
      features: of the methods feature and votes: kinds that the score stage wrote ("likelihood", whose nll is a
        perplexity's logarithm), or files or folders of one's own; Parquet, id and number columns.
      feature, take: of the feature method, see `FeatureSelector`.
      voters, top_share: of the votes method, see `VotesSelector`.
      only: each list that is given must hold the row.
      exclude: no list that is given may hold the row; `exclude.ids` is the opt-out list.
      require_ids: a file of ids that are chosen before all others, whatever their scores.
      owned: files of ids, or folders of selections, that one has already: they are not chosen again.
      max_per_source: the most rows of any one source.
      source_caps: the most rows of the sources named here, instead of `max_per_source`.
      formats: what else to write beside selection.parquet, ids.txt and pool.json; see `selection/formats` (official
        writes the scores of what was selected, packed an ArrayRecord pool with its pictures).
      extra_scores: score files or folders whose capability columns join the table by id; no score where an id is
        missing. This is how a new capability is added without scoring the old ones again.
      near_duplicates: of samples that are nearly the same only the best-scored one is a candidate; None keeps all.
      decontaminate: samples that show a benchmark's pictures or repeat its questions are no candidates, or only
        reported; None does not look.
    """

    method: Method = "mmssr"
    budget: Budget = dataclasses.field(default_factory=lambda: Budget(ratio=0.1))
    budgets: Mapping[str, Budget] = dataclasses.field(default_factory=dict)
    nested: bool = False
    seed: int = 0
    tie_break: Literal["hash", "file"] = "hash"
    capabilities: tuple[str, ...] = ()
    threshold: float = 0.5
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cap_takes: bool = True
    length: Literal["longest", "shortest"] = "longest"
    stratified: Literal["proportional", "equal"] = "proportional"
    features: tuple[str, ...] = ()
    feature: str = ""
    take: Literal["highest", "lowest", "middle"] = "highest"
    voters: tuple[str, ...] = ()
    top_share: float = 0.1
    only: RowFilter = dataclasses.field(default_factory=RowFilter)
    exclude: RowFilter = dataclasses.field(default_factory=RowFilter)
    require_ids: str | None = None
    owned: tuple[str, ...] = ()
    max_per_source: int | None = None
    source_caps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    extra_scores: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    near_duplicates: NearDuplicates | None = None
    decontaminate: Decontaminate | None = None

    def __post_init__(self) -> None:
        kinds = {next(k for k in ("ratio", "count", "tokens") if getattr(b, k) is not None) for b in self.all_budgets()}
        if self.nested and len(kinds) > 1:
            raise ValueError(f"nested budgets must be of one kind, not {' and '.join(sorted(kinds))}")
        caps = [*self.source_caps.values(), *([] if self.max_per_source is None else [self.max_per_source])]
        if any(cap < 0 for cap in caps):
            raise ValueError("a cap per source is below 0")
        if self.method in ("feature", "votes") and not self.features:
            raise ValueError(f"the method {self.method} needs feature tables; give their files as features")
        if self.method == "feature" and not self.feature:
            raise ValueError("the method feature needs feature, the name of a column of the feature tables")
        self.selector()  # checks its settings

    def all_budgets(self) -> tuple[Budget, ...]:
        """`budgets` in the order given, or the one `budget`."""
        return tuple(self.budgets.values()) or (self.budget,)

    @property
    def needs_scores(self) -> bool:
        """Whether the method looks at more than ids and sources."""
        tokens = any(b.tokens is not None for b in self.all_budgets())
        return self.method in ("mmssr", "length") or tokens or bool(self.only.styles or self.exclude.styles)

    def selector(self) -> Selector:
        """The selector of the method, with its settings."""
        if self.method == "mmssr":
            return MmssrSelector(
                self.capabilities, self.threshold, self.thresholds, self.weights, cap_takes=self.cap_takes
            )
        if self.method == "length":
            return LengthSelector(longest_first=self.length == "longest")
        if self.method == "stratified":
            return StratifiedSelector(equal=self.stratified == "equal")
        if self.method == "feature":
            return FeatureSelector(self.feature, self.take)
        if self.method == "votes":
            return VotesSelector(self.voters, self.top_share)
        return RandomSelector()
