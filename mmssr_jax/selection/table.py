"""The score table in memory, as numpy columns: the input of every selection.

id        Arrow strings, never Python strings      [rows]
source    int32 codes into `source_names`          [rows]
styles    int16 or int32 codes into `style_names`  [rows, slots], main style first, -1 = none
scores    one float32 column per capability        [rows], NaN = no score
n_tokens  int32 or None                            [rows]
features  one float32 column per feature           [rows] or [rows, d], NaN = no value
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmssr_jax.core import tables
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.vocabulary import MAX_SCORE


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores of a pool, as columns.

    Attributes:
      ids: strings [rows].
      source: int32 [rows], codes into `source_names`, which are sorted.
      source_names: the sources.
      styles: int [rows, slots], codes into `style_names`, which are sorted; main style first, -1 = none.
      style_names: the styles.
      scores: float32 [rows] by capability; NaN = no score.
      n_tokens: int32 [rows], or None.
      features: float32 [rows], or [rows, d] for vectors, by name; NaN = no value.
    """

    ids: pa.Array | pa.ChunkedArray
    source: np.ndarray
    source_names: tuple[str, ...]
    styles: np.ndarray
    style_names: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    n_tokens: np.ndarray | None = None
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def capabilities(self) -> tuple[str, ...]:
        return tuple(self.scores)

    def column(self, capability: str) -> np.ndarray:
        """The scores of one capability, float32 [rows].

        Raises:
          UserError: the table has no such capability.
        """
        if capability not in self.scores:
            raise UserError(f"the scores have no capability {capability!r}; they have {', '.join(self.scores)}")
        return self.scores[capability]

    def feature(self, name: str) -> np.ndarray:
        """One feature, float32 [rows] or [rows, d].

        Raises:
          UserError: no feature table has that column.
        """
        if name not in self.features:
            known = ", ".join(self.features) or "none; give their files as `features`"
            raise UserError(f"there is no feature {name!r}; there are {known}")
        return self.features[name]

    def number(self, name: str) -> np.ndarray:
        """A feature that is one number per row, float32 [rows].

        Raises:
          UserError: there is no such feature, or it is a vector.
        """
        column = self.feature(name)
        if column.ndim != 1:
            raise UserError(f"the feature {name} has {column.shape[1]} numbers per row where one is expected")
        return column

    def vector(self, name: str) -> np.ndarray:
        """A feature that is a vector per row, float32 [rows, d].

        Raises:
          UserError: there is no such feature, or it is a single number.
        """
        column = self.feature(name)
        if column.ndim != 2:
            raise UserError(f"the feature {name} is one number per row where a vector is expected")
        return column

    @classmethod
    def from_arrow(cls, table: pa.Table, capabilities: Sequence[str] = ()) -> ScoreTable:
        """From a table in the layout of `scores/part-*.parquet` (see `core.tables`), without copies where possible.

        Args:
          table: `id`, `source`, one float column per capability, `styles` list<string>, optionally `n_tokens`.
          capabilities: the columns to keep, in this order; all if empty.

        Raises:
          UserError: a column is missing or has another type, an id or source is null, or a score is out of range.
        """
        chosen = tuple(capabilities) or tables.capability_slugs(table)
        missing = [n for n in ("id", "source", "styles", *chosen) if n not in table.schema.names]
        if missing:
            raise UserError(
                f"the scores have no column {', '.join(missing)}; they have {', '.join(table.schema.names)}"
            )
        for name in ("id", "source"):
            if table[name].null_count:
                raise UserError(f"{table[name].null_count} rows of the scores have no {name}")
        source, source_names = encode_strings(table["source"])
        styles, style_names = encode_styles(table["styles"])
        scores = {name: _float_column(table[name], name) for name in chosen}
        n_tokens = None
        if "n_tokens" in table.schema.names and not table["n_tokens"].null_count:
            n_tokens = checked_token_counts(_number_column(table["n_tokens"], "n_tokens"), lambda: table["id"])
        result = cls(table["id"], source, source_names, styles, style_names, scores, n_tokens)
        result.check_scores()
        return result

    def check_scores(self) -> None:
        """Rejects scores outside 0..5; NaN means no score.

        Raises:
          UserError: names the first such id and its value.
        """
        for name, column in self.scores.items():
            if len(column) and (np.nanmax(column, initial=0) > MAX_SCORE or np.nanmin(column, initial=0) < 0):
                row = int(np.flatnonzero((column > MAX_SCORE) | (column < 0))[0])
                raise UserError(
                    f"id {self.ids[row].as_py()!r}: {name} is {column[row]:g}, but scores go from 0 to {MAX_SCORE}"
                )


def checked_token_counts(counts: np.ndarray, ids: Callable[[], pa.ChunkedArray]) -> np.ndarray:
    """Counts [rows] of any numeric type as int32; `ids` are read for the message only.

    Raises:
      UserError: one is not a whole number from 0 to 2^31 - 1; names its id.
    """
    wrong = ~((counts >= 0) & (counts < 2**31) & (counts == np.floor(counts)))  # NaN is none of these
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"id {ids()[row].as_py()!r}: n_tokens is {counts[row]}, not a number of tokens")
    return counts.astype(np.int32, copy=False)


def _float_column(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """float32 [rows]; null becomes NaN."""
    return _number_column(column, name).astype(np.float32, copy=False)


def _number_column(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Numbers [rows] in the column's type; null becomes NaN."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise UserError(f"the scores' column {name} holds {column.type}, not numbers")
    return column.to_numpy()


def encode_strings(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32 codes [rows], -1 = null, and their names, sorted, so that the codes do not depend on the row order."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = column.unify_dictionaries().chunks
    dictionary = chunks[0].dictionary.to_pylist() if chunks else []
    codes = np.concatenate([c.indices.fill_null(-1).to_numpy() for c in chunks] or [np.zeros(0, np.int32)])
    used = np.zeros(len(dictionary) + 1, bool)
    used[codes] = True  # -1 indexes the last element
    names = tuple(sorted(name for name, in_use in zip(dictionary, used[:-1], strict=True) if in_use))
    code_of = {name: i for i, name in enumerate(names)}
    renumber = np.array([*(code_of.get(name, -1) for name in dictionary), -1], np.int32)  # the last maps -1 to -1
    return renumber[codes], names


def encode_styles(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes [rows, slots] in the smallest integer type, and the sorted names.

    The order within a row is kept; repeats, blanks and nulls are dropped.

    Raises:
      UserError: the column does not hold lists of strings.
    """
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise UserError(f"the scores' column styles holds {column.type}, not lists of strings")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64, copy=False)
    codes, names = encode_strings(pc.list_flatten(column))
    if names[:1] == ("",):
        codes, names = np.maximum(codes - 1, -1), names[1:]
    small = codes.astype(np.min_scalar_type(-max(len(names), 1)))
    slots = int(lengths.max(initial=0))
    styles = np.full((slots, len(lengths)), -1, small.dtype).T  # slot-major in memory, as it is read
    begin = np.cumsum(lengths) - lengths
    for slot in range(slots):
        rows = np.flatnonzero(lengths > slot)
        styles[rows, slot] = small[begin[rows] + slot]
    return without_repeats(styles), names


def without_repeats(styles: np.ndarray) -> np.ndarray:
    """Drops repeated styles of a row and closes gaps, [rows, slots]: (2, 2, -1, 1) becomes (2, 1, -1, -1)."""
    slots = styles.shape[1]
    unwanted = np.zeros((slots, len(styles)), bool).T
    wrong = np.zeros(len(styles), bool)
    for slot in range(1, slots):
        for earlier in range(slot):
            unwanted[:, slot] |= (styles[:, slot] == styles[:, earlier]) & (styles[:, slot] >= 0)
        wrong |= unwanted[:, slot] | ((styles[:, slot] >= 0) & (styles[:, slot - 1] < 0))
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return styles
    styles = styles.copy(order="K")
    kept = np.where(unwanted[rows], -1, styles[rows])
    order = np.argsort(kept < 0, axis=1, kind="stable")
    styles[rows] = np.take_along_axis(kept, order, axis=1)
    return styles
