"""Shared by the parts of benchmarks/scoring.py: shapes, programs, and their timing."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

QUESTIONS = 15
_NATIVE_SIDE = 27  # blocks along a side of an image for a native tower


def rounds(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each program in each round, after one warm-up round; a program returns when its result is ready."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for n in range(repeats + 1):
        for name, run in programs.items():
            begin = time.perf_counter()
            run()
            if n:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(above: list[float], below: list[float], times: float = 1.0) -> float:
    """The median over rounds of `times` x above / below."""
    return round(statistics.median(times * a / b for a, b in zip(above, below, strict=True)), 4)


def shape_config(name: str, layers: int, dtype: str) -> Any:
    """The model's config; with fewer layers the vocabulary shrinks in proportion, to keep the logits' share of cost."""
    from mmssr_jax.models import presets

    config = presets.preset(name)
    decoder, vision = config.decoder, config.vision
    if layers:
        vocab = max(decoder.vocab * layers // decoder.depth, 4096)
        decoder = dataclasses.replace(decoder, depth=layers, vocab=vocab)
        native = vision.native
        if native is not None:  # as many DeepStack features as there is room for
            native = dataclasses.replace(native, deepstack=tuple(range(min(layers, len(native.deepstack)))))
        vision = dataclasses.replace(vision, depth=layers, native=native)
    return dataclasses.replace(config, decoder=decoder, vision=vision, dtype=dtype, remat="minimal")


def random_params(config: Any) -> Any:
    """Structure and random parameters, created on the device in float32, or in the model's 16-bit dtype."""
    import jax
    from flax import nnx

    from mmssr_jax.models import module_params
    from mmssr_jax.models.vlm import VLM

    def make() -> Any:
        params = module_params.split(VLM(config, rngs=nnx.Rngs(0)))[1]
        return jax.tree.map(lambda x: x.astype(config.dtype), params)

    graphdef, _ = module_params.abstract(lambda: VLM(config, rngs=nnx.Rngs(0)))
    return graphdef, jax.jit(make)()


def questions(part: str, folder: str | None = None) -> Any:
    """The encoder of "all" questions, the "scores" or the "styles", with the tokenizer of `folder`.

    By default a small tokenizer is trained whose tokens are the questions' words, as in the tokenizers of large models.
    """
    from mmssr_jax.core.vocabulary import CAPABILITIES, STYLES
    from mmssr_jax.data.processor import Processor
    from mmssr_jax.data.tokenizer import load_tokenizer, train_tokenizer
    from mmssr_jax.scoring import instructions
    from mmssr_jax.scoring.encoder import ScorerEncoder

    if folder:
        tokenizer = load_tokenizer(Path(folder))
    else:
        texts = [instructions.score_query(c) for c in CAPABILITIES] + [instructions.style_query(), *STYLES]
        tokenizer = train_tokenizer([*texts, *"012345", "user\n", "assistant\n", "A: b\n"] * 20, vocab_size=640)
    processor = Processor(tokenizer, image_size=384, tokens_per_image=729)
    capabilities = CAPABILITIES if part != "styles" else ()
    styles = STYLES if part != "scores" else ()
    return ScorerEncoder(processor, capabilities, max_prefix=4096, styles=styles)


def _pixels(config: Any, rows: int) -> Any:
    """One random image a row: a view, or for a native tower 864 x 864 pixels in blocks."""
    import numpy as np

    from mmssr_jax.images.image_blocks import ImageBlocks, places

    rng, size, native = np.random.default_rng(1), config.vision.image_size, config.vision.native
    if native is None:
        return rng.integers(0, 255, (rows, size, size, 3)).astype(np.uint8)
    place = np.tile(places([(_NATIVE_SIDE, _NATIVE_SIDE)]), (rows, 1))
    return ImageBlocks(rng.integers(0, 255, (len(place), native.frames, size, size, 3)).astype(np.uint8), place)


def sample_batch(config: Any, *, rows: int, text: int, answer: int = 0, vocab: int = 600) -> Any:
    """Samples without questions: text, one view with its newline, text; the last `answer` tokens are targets."""
    import numpy as np

    from mmssr_jax.data.batch import Batch
    from mmssr_jax.images.image_blocks import take, token_positions

    rng = np.random.default_rng(0)
    native = config.vision.native
    T = config.vision.tokens if native is None else _NATIVE_SIDE**2
    L, first = text + T + 1, text // 3
    index = np.full((rows, L), -1, np.int32)
    index[:, first : first + T] = 1 + np.arange(rows * T).reshape(rows, T)
    index[:, first + T] = 0 if native is None else -1
    pixels, positions = _pixels(config, rows), np.arange(L, dtype=np.int32)
    if native is not None:
        positions = token_positions(index[0], take(pixels, slice(T)))
    tokens = rng.integers(0, vocab, (rows, L)).astype(np.int32)
    room = L if answer else 0  # as in scoring, a batch has room for a target at every token
    position = np.zeros((rows, room), np.int32)
    position[:, :answer] = np.arange(L - 1 - answer, L - 1)
    weight = np.tile((np.arange(room) < answer).astype(np.float32), (rows, 1))
    return Batch(
        tokens, np.tile(positions, (rows, 1)), np.full((rows, L), L, np.int32), index, pixels,
        position, np.take_along_axis(tokens, position + 1, axis=1), weight,
    )  # fmt: skip


def compiled(
    config: Any, graphdef: Any, params: Any, batch: Any, *, names: Sequence[str], tokenizer: str | None = None
) -> dict[str, Callable[[], Any]]:
    """The named programs: prefix, tree (all questions), likelihood (tree, and that of the answers), scores, styles,
    alone (one question). They block.
    """
    import jax
    import jax.numpy as jnp

    from mmssr_jax.models import module_params
    from mmssr_jax.models.attention.tree import PrefixTreeMask
    from mmssr_jax.scoring import forward
    from mmssr_jax.scoring.answer_likelihood import mean_answer_nll
    from mmssr_jax.scoring.prompt_tree import build_tree

    all_questions, scores, styles = (questions(part, tokenizer) for part in ("all", "scores", "styles"))
    one = build_tree([all_questions.queries[0]])  # the official code runs one question per pass

    def prefix(params: Any, batch: Any) -> Any:
        B, L = batch.tokens.shape
        mask = PrefixTreeMask(jnp.full(B, L, jnp.int32), L, ())
        hidden = module_params.merge(graphdef, params)(
            batch.tokens, batch.pixels, batch.image_index, batch.positions, mask
        )
        return module_params.merge(graphdef, params).logits(hidden[:, -1])

    def answering(encoder: Any, *, likelihood: bool = False) -> Callable[[Any, Any], Any]:
        def run(params: Any, batch: Any) -> Any:
            model = module_params.merge(graphdef, params)
            logits, hidden = forward.leaf_logits(model, batch, encoder.tree)
            digits = forward.read_digits(logits[:, : len(encoder.capabilities)], jnp.asarray(encoder.digits))
            result = digits, forward.read_styles(logits, encoder.style_steps)
            return (*result, mean_answer_nll(model, hidden, batch)) if likelihood else result

        return run

    def alone(params: Any, batch: Any) -> Any:
        return forward.leaf_logits(module_params.merge(graphdef, params), batch, one)[0]

    device = jax.device_put(batch)
    made = {}
    functions = {
        "prefix": prefix,
        "tree": answering(all_questions),
        "likelihood": answering(all_questions, likelihood=True),
        "scores": answering(scores),
        "styles": answering(styles),
        "alone": alone,
    }
    for name in names:
        program = jax.jit(functions[name]).lower(params, device).compile()
        made[name] = lambda program=program: jax.block_until_ready(program(params, device))
    return made
