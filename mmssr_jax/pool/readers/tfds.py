"""TFDS datasets in ArrayRecord files: the packed pools of this program, and others with features of known names.

images         image | images          encoded, one or a sequence
conversation   record (a LLaVA JSON object) | conversations or turns: Sequence({"from"|"role", "value"|...})
               | question and answer, to which the image tags are added
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.core.sample import IMAGE_TAG
from mmssr_jax.pool.reader import Match, PoolFormat
from mmssr_jax.pool.record import Record
from mmssr_jax.pool.tfds_folder import open_tfds

_CONVERSATIONS = ("conversations", "turns")
_ROLES = ("from", "role")
_TEXTS = ("value", "content", "text")
_IMAGES = ("images", "image")
_KEPT = ("id", "source", "data_source", "image_source")
_GPT = {"user": "human", "assistant": "gpt"}

# The features of one example by their flat name ("turns/role").
_Example = Mapping[str, Sequence[bytes]]


@dataclasses.dataclass(frozen=True)
class TfdsSettings:
    """Settings of a TFDS dataset.

    Attributes:
      tfds_split: the split, in TFDS syntax: "train" or "train[:10%]".
    """

    tfds_split: str = "train"


class Tfds:
    """Reads a split of a prepared TFDS dataset.

    Args:
      path: the folder with `dataset_info.json`.
      split: see `TfdsSettings`.

    Raises:
      UserError: TFDS cannot read it as ArrayRecord, it has none of the features above, or one of a class that is not
        part of TFDS.
    """

    in_place = False

    def __init__(self, path: Path, split: str = "train"):
        import tensorflow_datasets as tfds  # takes a second to import

        self.settings = {"split": split}
        try:
            builder = open_tfds(path)
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            self._source = builder.as_data_source(split=split, deserialize_method=raw)
        except UserError:
            raise
        except Exception as e:  # protobuf's and TFDS's have no common class
            raise UserError(
                f"{path}: TFDS cannot read split {split!r} of it ({' '.join(str(e).split())[:200]})"
            ) from None
        names = sorted(builder.info.features)
        if not ({"record", *_CONVERSATIONS} & set(names) or {"question", "answer"} <= set(names)):
            raise UserError(
                f"{path}: has no feature record, {', '.join(_CONVERSATIONS)}, or question and answer; "
                f"it has {', '.join(names)}"
            )
        unread = [name for name in names if name not in _IMAGES and _is_media(builder.info.features[name], tfds)]
        if unread:
            raise UserError(
                f"{path}: its feature {unread[0]!r} holds media, which are read from 'image' and 'images' only"
            )
        shards = (Path(p) for s in builder.info.splits.values() for p in s.filepaths)
        self.files = (path.resolve() / "dataset_info.json", *(p.resolve() for p in shards))

    def images_root(self, file: int) -> Path:
        return self.files[file].parent

    def records(self, *, images: bool, label: str | None = None, only: int | None = None) -> Iterator[Record]:
        from tensorflow_datasets.proto import tf_example_pb2

        progress = Progress(label, len(self._source), "records") if label else None
        for number in range(len(self._source) if only in (None, 0) else 0):  # all records are assigned to file 0
            try:
                proto = tf_example_pb2.Example.FromString(self._source[number])
            except Exception as e:
                reason = " ".join(str(e).split())[:200]
                raise UserError(f"{self.files[0].parent}: damaged at record {number} ({reason}); fetch it again") from e
            example = {name: f.bytes_list.value for name, f in proto.features.feature.items()}
            encoded = tuple(next((example[name] for name in _IMAGES if name in example), ()))
            yield _record(example, number, encoded, images)
            if progress is not None:
                progress.add()


def _is_media(feature: Any, tfds: Any) -> bool:
    """Whether a feature, or a sequence of it, holds images, video or audio."""
    inner = getattr(feature, "feature", feature)
    return isinstance(inner, (tfds.features.Image, tfds.features.Video, tfds.features.Audio))


def _record(example: _Example, number: int, encoded: tuple[bytes, ...], images: bool) -> Record:
    kept = encoded if images else None
    try:
        if "record" in example:
            raw = example["record"][0]
            value = json.loads(raw)
        else:
            value = _value(example, number, len(encoded))
            raw = json.dumps(value).encode()
        return Record(file=0, number=number, offset=-1, raw=raw, value=value, images=kept)
    except (ValueError, RecursionError) as e:  # JSON, UTF-8
        return Record(file=0, number=number, offset=-1, raw=b"", value=None, error=str(e))


def _value(example: _Example, number: int, n_images: int) -> dict[str, Any]:
    """The example in LLaVA format.

    Raises:
      ValueError: its text is not UTF-8.
    """
    value: dict[str, Any] = {k: example[k][0].decode("utf-8") for k in _KEPT if example.get(k)}
    names = [f"{number:08d}.{i}" for i in range(n_images)]
    if names:
        value["image"] = names[0] if n_images == 1 else names
    value["conversations"] = _conversations(example, n_images)
    return value


def _conversations(example: _Example, n_images: int) -> list[dict[str, str]]:
    for name in _CONVERSATIONS:
        roles = next((example[f"{name}/{r}"] for r in _ROLES if f"{name}/{r}" in example), None)
        texts = next((example[f"{name}/{t}"] for t in _TEXTS if f"{name}/{t}" in example), None)
        if roles is not None and texts is not None:
            pairs = [(r.decode("utf-8"), t.decode("utf-8")) for r, t in zip(roles, texts, strict=True)]
            return [{"from": _GPT.get(role, role), "value": text} for role, text in pairs]
    question, answer = (b"".join(example.get(name, ())[:1]).decode("utf-8") for name in ("question", "answer"))
    tags = "" if IMAGE_TAG in question else f"{IMAGE_TAG}\n" * n_images
    return [{"from": "human", "value": tags + question}, {"from": "gpt", "value": answer}]


def _match(path: Path) -> Match:
    return Match.EXACT if (path / "dataset_info.json").is_file() else Match.NONE


def _open(path: Path, settings: TfdsSettings) -> Tfds:
    return Tfds(path, settings.tfds_split)


READER = PoolFormat(match=_match, settings=TfdsSettings, open=_open)
