"""Parts of a checkpoint, each found by one tensor that only it has, whatever prefix its names carry.

    model.language_model.embed_tokens.weight                       the decoder's prefix is "model.language_model"
    model.vision_tower.vision_model.embeddings.patch_embedding…    the tower's is "model.vision_tower.vision_model"

So one rule reads the checkpoints of every version of transformers and of a model's authors. To write one needs a
layout: the prefix of each part. Where names differ below the prefix (the projector's), a part has a second form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from mmssr_jax.convert.keymap import Entry, under
from mmssr_jax.core.errors import UserError

Layout = Mapping["Part", str]
"""The prefix of each part in a checkpoint, without a dot at its end."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
      ours: dotted prefix of its parameters; "" for none.
      entries: its table, without either prefix.
      anchor: the tensor that its prefix is found by; no other part has one of this name.
      optional: it may be absent: a head (embeddings may be tied), or one of two forms of a part.
    """

    ours: str
    entries: tuple[Entry, ...]
    anchor: str
    optional: bool = False

    def placed(self, prefix: str) -> list[Entry]:
        """Its table with the parameters' and the checkpoint's prefix."""
        return under(self.ours, prefix, self.entries)

    def prefix(self, keys: Iterable[str]) -> str | None:
        """The prefix among a checkpoint's tensor names; None if the part is not there.

        Raises:
          UserError: it is there more than once.
        """
        found = [
            key.removesuffix(self.anchor).removesuffix(".")
            for key in keys
            if key == self.anchor or key.endswith(f".{self.anchor}")
        ]
        if len(found) > 1:
            raise UserError(
                f"the checkpoint has {len(found)} tensors named …{self.anchor}, with the prefixes "
                f"{', '.join(map(repr, sorted(found)))}; expected one"
            )
        return found[0] if found else None


def found_entries(parts: Sequence[Part], keys: Iterable[str], *, family: str) -> list[Entry]:
    """The table of a checkpoint; parts that are not there have no prefix.

    Args:
      parts: of the model. Of two forms of a part the one that is there is taken, or else the first.
      keys: the checkpoint's tensor names.
      family: its name, for the error message.

    Raises:
      UserError: a part that is not optional is not there, or one is there more than once.
    """
    present = sorted(set(keys))
    table: dict[str, Entry] = {}
    absent: list[Part] = []
    for part in parts:
        prefix = part.prefix(present)
        if prefix is not None:
            table |= {e.ours: e for e in part.placed(prefix)}
        elif part.optional:
            absent.append(part)
        else:
            raise UserError(
                f"not a {family} checkpoint: no tensor is named …{part.anchor}; its tensors are "
                f"{', '.join(present[:4])} …"
            )
    for part in absent:
        table = {e.ours: e for e in part.placed("")} | table
    return list(table.values())


def layout_entries(layout: Layout) -> list[Entry]:
    """The table of a layout, to write it."""
    return [entry for part, prefix in layout.items() for entry in part.placed(prefix)]
