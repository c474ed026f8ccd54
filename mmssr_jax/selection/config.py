"""The section of one selection: what all methods share, and the settings of its method."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mmssr_jax.core.config import field_types, suggestion, to_dataclass
from mmssr_jax.core.errors import UserError
from mmssr_jax.selection.base import Budget
from mmssr_jax.selection.format import format_names
from mmssr_jax.selection.method import DEFAULT_METHOD, Selector, load_method, methods_with_key, name_of, settings_of
from mmssr_jax.selection.screening.decontaminate import Decontaminate
from mmssr_jax.selection.screening.near_duplicates import NearDuplicates


@dataclasses.dataclass(frozen=True)
class RowFilter:
    """Rows by their source, by a style they have in any slot, or by their id.

    Attributes:
      sources: names of sources.
      styles: names of styles.
      ids: a file with one id per line (such as `ids.txt` of a selection), or None.
    """

    sources: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    ids: str | None = None


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """One selection: `config.select.selections.NAME`.

    Unusual input has a defined result. Rejected with one line: a score below 0, above 5 or infinite; an id that occurs
    twice or is not in the pool; a capability that is all 0, all missing, or degenerate by the scorer's evaluation; a
    source, style or capability that no row has; a budget of 0 or of more samples than the pool. Accepted: a missing
    score (NaN or null: the sample is not eligible for that capability); a row without a style (mmssr cannot choose it:
    it is in no group, and is counted); a style that is not one of the nine (its own group, with a warning); a ratio of
    1 (everything eligible, in order); a ratio of less than one sample, or filters that leave nothing (nothing is
    selected, with a warning); fewer eligible samples than the budget (the selection ends short, with a warning).

    Attributes:
      selector: the method with its settings. In a config these are flat: `method`, the name of a file in
        `selection/methods`, and the fields of its dataclass beside the keys below.
      budget: how much to select: one of ratio, count and tokens.
      budgets: several budgets by name, instead of `budget`; each becomes selections/<selection>-<name>.
      nested: whether a larger budget of `budgets` contains the smaller ones: each extends the next smaller one.
      seed: decides ties and all random numbers.
      tie_break: order equal scores by a seeded hash of the id, or by file order.
      features: feature tables to join: kinds that the score stage wrote (such as "likelihood"), "scores" for the score
        table (such as the scorer's ratings of complexity and quality, `vocabulary.DEITA_LIKE`), or files or folders of
        ids and numbers (`selection.number_files`): Parquet (vectors too), JSONL, FineVision's ratings, DataComp-VLM's
        annotations. Where the method names its columns, only those are read. No scores are needed.
      only: keep rows that are in every list given.
      exclude: drop rows that are in any list given; `exclude.ids` is the opt-out list.
      lowest: by feature, the share of the rows that have it to keep: those with its lowest values, ties included. A row
        without the feature is dropped.
      require_ids: a file of ids that are selected before all others, whatever their scores.
      owned: files of ids, or folders of selections, that are in use already: they are not selected again.
      max_per_source: the maximum number of rows of any source.
      source_caps: the maximum number of rows of the sources named here, instead of `max_per_source`.
      formats: further formats to write beside selection.parquet, ids.txt and pool.json: files of `selection/formats`.
      extra_scores: score files or folders, or other files of numbers, whose capabilities are joined to the table by id;
        a missing id has no score. This adds a capability without scoring the others again. A column is a capability if
        the vocabulary or the method's `capabilities` name it; if they name none of a file's, all its numbers are.
      calibrated: select by the scores that the score stage calibrated (`config.score.calibration`) instead of the
        scorer's expected scores.
      near_duplicates: keep only one sample of each group of near-duplicates as a candidate; None keeps all.
      decontaminate: exclude, or only report, samples that match a benchmark's images or questions; None does not look.
    """

    EXCLUSIVE: ClassVar = (("budget", "budgets"),)

    selector: Selector = dataclasses.field(default_factory=lambda: load_method(DEFAULT_METHOD)())
    budget: Budget = dataclasses.field(default_factory=lambda: Budget(ratio=0.1))
    budgets: Mapping[str, Budget] = dataclasses.field(default_factory=dict)
    nested: bool = False
    seed: int = 0
    tie_break: Literal["hash", "file"] = "hash"
    features: tuple[str, ...] = ()
    only: RowFilter = dataclasses.field(default_factory=RowFilter)
    exclude: RowFilter = dataclasses.field(default_factory=RowFilter)
    lowest: Mapping[str, float] | None = None
    require_ids: str | None = None
    owned: tuple[str, ...] = ()
    max_per_source: int | None = None
    source_caps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    extra_scores: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    calibrated: bool = False
    near_duplicates: NearDuplicates | None = None
    decontaminate: Decontaminate | None = None

    def __post_init__(self) -> None:
        kinds = {next(k for k in ("ratio", "count", "tokens") if getattr(b, k) is not None) for b in self.all_budgets()}
        if self.nested and len(kinds) > 1:
            raise ValueError(f"nested budgets must be of one kind, not {' and '.join(sorted(kinds))}")
        caps = [*self.source_caps.values(), *([] if self.max_per_source is None else [self.max_per_source])]
        if any(cap < 0 for cap in caps):
            raise ValueError("a cap per source is below 0")
        if self.selector.needs.features is not None and not self.features:
            raise ValueError(f"the method {self.method} needs feature tables; give --WHERE.features=FILES")
        wrong = next((name for name, share in (self.lowest or {}).items() if not 0 < share < 1), None)
        if wrong is not None:
            raise ValueError(f"lowest.{wrong} is a share of the rows, above 0 and below 1")
        if self.lowest and not self.features:
            raise ValueError(f"lowest needs feature tables; give --WHERE.features=FILES with {', '.join(self.lowest)}")
        if self.selector.needs.near_duplicates and self.near_duplicates is None:
            raise ValueError(f"the method {self.method} needs near_duplicates; {{}} takes the defaults")
        known = format_names()
        unknown = next((name for name in self.formats if name not in known), None)
        if unknown is not None:
            raise ValueError(f"there is no format {unknown!r}; {suggestion(unknown, known)}")

    @classmethod
    def from_section(cls, section: Mapping[str, Any], where: str) -> SelectionConfig:
        """From the flat section of a config (see `core.config.to_dataclass`).

        Raises:
          UserError: there is no such method; a key is unknown, or belongs to another method; a value does not fit.
        """
        if not hasattr(section, "items"):
            raise UserError(f"{where}: expected a section, got {section!r}")
        name = section.get("method", DEFAULT_METHOD)
        try:
            method = load_method(str(name))
        except UserError as e:
            raise UserError(f"{where}.method: {e}") from None
        shared = {field.name for field in dataclasses.fields(cls)} - {"selector"}
        settings = settings_of(method)
        if shared & settings:
            clash = sorted(shared & settings)[0]
            raise UserError(f"the method {name} redefines {clash!r}, a key of every selection; rename its setting")
        for key in section:
            if key in shared | settings | {"method"}:
                continue
            owners = methods_with_key(key)
            if owners:
                raise UserError(f"{where}: {key!r} is a setting of {', '.join(owners)}, not of {name}")
            raise UserError(f"{where}: there is no field {key!r}; {suggestion(key, ['method', *shared, *settings])}")
        selector = to_dataclass(method, {k: v for k, v in section.items() if k in settings}, where)
        return to_dataclass(cls, {"selector": selector, **{k: v for k, v in section.items() if k in shared}}, where)

    @classmethod
    def key_types(cls, section: Mapping[str, Any]) -> dict[str, Any]:
        """The types of the keys of a flat section, by its method; see `core.config.field_types`."""
        method = load_method(str(section.get("method", DEFAULT_METHOD)))
        shared = {k: v for k, v in typing.get_type_hints(cls).items() if k not in ("selector", "EXCLUSIVE")}
        return {"method": str, **field_types(method, {}), **shared}

    def to_section(self) -> dict[str, Any]:
        """The flat section, with all defaults; the inverse of `from_section`."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "selector"}
        settings = {name: getattr(self.selector, name) for name in sorted(settings_of(type(self.selector)))}
        return {"method": self.method, **settings, **shared}

    @property
    def method(self) -> str:
        """The name of the method."""
        return name_of(self.selector)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The capabilities that the method's settings name; empty if it takes all of them, or none."""
        return tuple(getattr(self.selector, "capabilities", ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the feature tables that are read; empty for all."""
        return (*needed, *(self.lowest or ())) if (needed := self.selector.needs.features) else ()

    def all_budgets(self) -> tuple[Budget, ...]:
        """`budgets` in the order given, or the single `budget`."""
        return tuple(self.budgets.values()) or (self.budget,)

    @property
    def needs_scores(self) -> bool:
        """Whether the selection reads a score table, not only ids and sources."""
        tokens = any(b.tokens is not None for b in self.all_budgets())
        return self.selector.needs.score_table or tokens or bool(self.only.styles or self.exclude.styles)
