"""A wrapper around Hugging Face fast tokenizers in which text from data never becomes a special token."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tokenizers
import transformers

from mmssr_jax.core import files
from mmssr_jax.core.artifact import how_to_remake
from mmssr_jax.core.errors import UserError

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
IMAGE = "<image>"
SPECIALS = (END_OF_TEXT, IM_START, IM_END, IMAGE)
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"  # of Qwen3-VL
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
QWEN3_VL_SPECIALS = (*SPECIALS, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD)
BOS, EOS, UNKNOWN, PAD = "<s>", "</s>", "<unk>", "<pad>"  # of Llama

# Qwen2's pre-tokenization: contractions, words with one leading symbol, single digits, symbols, spaces.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Tokenizer:
    """Encodes and decodes text, and knows the ids of the special tokens of ChatML (Qwen2) or of Llama.

    Attributes:
      image: id of `<image>`, or Qwen3-VL's `<|image_pad|>`. Llama's tokenizers need not have it: `<unk>`, which no text
        encodes to, takes its place.
      end: id that ends an answer, `<|im_end|>` or Llama's `</s>`.
      pad: id of `<|endoftext|>`, or Llama's `<pad>` or `<unk>`.
      vocab_size: the largest id plus one.
    """

    def __init__(self, fast: transformers.PreTrainedTokenizerFast):
        self._fast = fast
        self._core = fast.backend_tokenizer
        self._core.encode_special_tokens = True  # "<|im_end|>" in a sample stays ordinary text
        if _is_llama(self._core):
            self.end = self._special(EOS)
            self.image, self.pad = (self._special(s, instead=UNKNOWN) for s in (IMAGE, PAD))
        else:
            self.end, self.pad = self.im_end, self._special(END_OF_TEXT)
            has_pad = self._core.token_to_id(IMAGE_PAD) is not None
            self.image = self._special(IMAGE, instead=IMAGE_PAD if has_pad else None)
        self.vocab_size = max(self._core.get_vocab(with_added_tokens=True).values()) + 1
        self._encode_cached = functools.lru_cache(maxsize=4096)(self._encode)

    @functools.cached_property
    def im_start(self) -> int:
        """Id of ChatML's `<|im_start|>`; a `UserError` for Llama's tokenizers."""
        return self._special(IM_START)

    @functools.cached_property
    def im_end(self) -> int:
        """Id of ChatML's `<|im_end|>`; a `UserError` for Llama's tokenizers."""
        return self._special(IM_END)

    @functools.cached_property
    def image_pad(self) -> int:
        """Id of Qwen3-VL's `<|image_pad|>`; a `UserError` for others."""
        return self._special(IMAGE_PAD)

    @functools.cached_property
    def video_pad(self) -> int:
        """Id of Qwen3-VL's `<|video_pad|>`; a `UserError` for others."""
        return self._special(VIDEO_PAD)

    @functools.cached_property
    def vision_start(self) -> int:
        """Id of Qwen3-VL's `<|vision_start|>`; a `UserError` for others."""
        return self._special(VISION_START)

    @functools.cached_property
    def vision_end(self) -> int:
        """Id of Qwen3-VL's `<|vision_end|>`; a `UserError` for others."""
        return self._special(VISION_END)

    @functools.cached_property
    def bos(self) -> int:
        """Id of Llama's `<s>`; a `UserError` for others."""
        return self._special(BOS)

    def _special(self, text: str, *, instead: str | None = None) -> int:
        token = self._core.token_to_id(text)
        if token is None and instead is not None:
            return self._special(instead)
        if token is None:
            raise UserError(f"the tokenizer has no token {text!r}, which the chat template needs")
        return token

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._core.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, all of it ordinary text; no special tokens are added."""
        return list(self._encode(text))

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """`encode`, and for each id the characters (begin, end) of `text` that it stands for."""
        encoding = self._core.encode(text, add_special_tokens=False)
        return list(encoding.ids), list(encoding.offsets)

    def encode_fixed(self, text: str) -> tuple[int, ...]:
        """`encode` with a cache, for texts that repeat (templates, queries)."""
        return self._encode_cached(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of `ids`, int [n]; special tokens are skipped."""
        return self._core.decode([int(i) for i in ids], skip_special_tokens=True)

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json` and its config in the format of `AutoTokenizer.from_pretrained`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._core.encode_special_tokens = False
        try:
            self._fast.save_pretrained(folder)
        finally:
            self._core.encode_special_tokens = True

    @functools.cached_property
    def digest(self) -> str:
        """Hash of vocabulary and merges."""
        return files.digest(self._core.to_str())

    def __reduce__(self):  # the backend tokenizer pickles as JSON, for worker processes
        return _from_json, (self._core.to_str(),)


def _is_llama(core: tokenizers.Tokenizer) -> bool:
    return core.token_to_id(IM_START) is None and core.token_to_id(EOS) is not None


def _wrap(core: tokenizers.Tokenizer) -> Tokenizer:
    if _is_llama(core):
        extra = [s for s in (IMAGE, PAD) if core.token_to_id(s) is not None]
        return Tokenizer(
            transformers.PreTrainedTokenizerFast(
                tokenizer_object=core, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN, extra_special_tokens=extra,
                clean_up_tokenization_spaces=False,
            )
        )  # fmt: skip
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=END_OF_TEXT,
        eos_token=IM_END,
        extra_special_tokens=[IM_START, IMAGE],
        clean_up_tokenization_spaces=False,
    )
    return Tokenizer(fast)


def _from_json(text: str) -> Tokenizer:
    return _wrap(tokenizers.Tokenizer.from_str(text))


def load_tokenizer(folder: Path, *, add_image: bool = False) -> Tokenizer:
    """Loads a fast tokenizer from a folder in Hugging Face's layout.

    Args:
      folder: with tokenizer.json, or with the vocab.json and merges.txt of a Qwen2 tokenizer.
      add_image: add the token `<image>` at the next free id if it is missing (as in lmms-lab's tokenizers), except to
        Llama's, whose models have no embedding for it.

    Raises:
      UserError: the folder holds no fast tokenizer, or one with neither ChatML's nor Llama's special tokens.
    """
    if not (folder / "tokenizer.json").exists() and not (folder / "vocab.json").exists():
        raise UserError(f"{folder}: holds no tokenizer.json")
    try:
        fast = transformers.AutoTokenizer.from_pretrained(str(folder))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as e:  # transformers raises many kinds; a panic of the Rust parser is not even an Exception
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise UserError(f"{folder}: its tokenizer cannot be read ({reason}); {how_to_remake(folder)}") from e
    if not isinstance(fast, transformers.PreTrainedTokenizerFast):
        raise UserError(f"{folder}: {type(fast).__name__} is not a fast tokenizer")
    if add_image and fast.backend_tokenizer.token_to_id(IMAGE) is None and not _is_llama(fast.backend_tokenizer):
        fast.add_special_tokens({"extra_special_tokens": [IMAGE]}, replace_extra_special_tokens=False)
    return Tokenizer(fast)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, specials: Sequence[str] = SPECIALS) -> Tokenizer:
    """Trains a byte-level BPE like Qwen2's (NFC, the same pre-tokenization and special tokens, single digits).

    Args:
      texts: the corpus; the result depends on nothing else.
      vocab_size: number of entries, including bytes and special tokens.
      specials: the special tokens, `SPECIALS` or `QWEN3_VL_SPECIALS`.
    """
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.normalizer = tokenizers.normalizers.NFC()
    core.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(_SPLIT), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return _wrap(core)
