"""Streaming generation by a model that spans processes: the main one says what is run, and all run it together.

    main     start ── next_tokens ── next_tokens ── …  stop        each call first tells the others, then runs
    others   follow: run what they receive, until "stop"          and drop the results

Messages are arrays by name, as safetensors, broadcast from the main process. While there is nothing to do, the main
process says so from time to time: a collective operation that waits too long would end the group.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import safetensors.numpy
from absl import logging

from mmssr_jax.generation.prompting import PromptBatch
from mmssr_jax.generation.stream import RowSampling, Stream, StreamGenerator, TokenChunk
from mmssr_jax.images.anyres import FeatureIndex, WeightedIndex
from mmssr_jax.images.image_blocks import ImageBlocks, Pixels
from mmssr_jax.parallel import hosts

_START, _NEXT, _CANDIDATES, _PUSH, _IDLE, _STOP = range(6)
_IDLE_S = 10.0

Arrays = dict[str, np.ndarray]


class SharedGenerator(StreamGenerator):
    """The `StreamGenerator` of the main process; use it as a context manager, whose end lets the others go."""

    def __enter__(self) -> SharedGenerator:
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._idle = threading.Thread(target=self._say_idle, name="idle", daemon=True)
        self._idle.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._idle.join()
        _send(_STOP, {})

    def start(self, batch: PromptBatch, sampling: RowSampling) -> Stream:
        """As `StreamGenerator.start`."""
        with self._telling(_START, _batch_arrays(batch, sampling)):
            return super().start(batch, sampling)

    def next_tokens(self, stream: Stream, *, logprobs: bool = False) -> TokenChunk:
        """As `StreamGenerator.next_tokens`."""
        with self._telling(_NEXT, {"logprobs": np.array([logprobs])}):
            return super().next_tokens(stream, logprobs=logprobs)

    def candidates(self, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """As `StreamGenerator.candidates`: int32 [B, K] and float32 [B, K]."""
        with self._telling(_CANDIDATES, {}):
            return super().candidates(stream)

    def push(self, stream: Stream, tokens: np.ndarray) -> np.ndarray:
        """As `StreamGenerator.push`: int32 [B] to float32 [B]."""
        with self._telling(_PUSH, {"tokens": tokens}):
            return super().push(stream, tokens)

    @contextlib.contextmanager
    def _telling(self, what: int, arrays: Arrays) -> Iterator[None]:
        with self._lock:
            _send(what, arrays)
            yield

    def _say_idle(self) -> None:
        while not self._ended.wait(_IDLE_S):
            with self._telling(_IDLE, {}):
                pass


def follow(generator: StreamGenerator) -> None:
    """Runs what the main process runs, in another process, until that ends."""
    stream: Stream | None = None
    while True:
        what, arrays = _receive()
        if what == _STOP:
            return
        try:
            if what == _START:
                stream = generator.start(*_batch(arrays))
            elif stream is not None and what == _NEXT:
                generator.next_tokens(stream, logprobs=bool(arrays["logprobs"][0]))
            elif stream is not None and what == _CANDIDATES:
                generator.candidates(stream)
            elif stream is not None and what == _PUSH:
                generator.push(stream, arrays["tokens"])
        except Exception:  # the main process has the same error, and continues with the next batch
            logging.exception("a batch failed")


def _send(what: int, arrays: Arrays) -> None:
    message = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    hosts.broadcast_bytes(safetensors.numpy.save({"what": np.array([what], np.int32), **message}))


def _receive() -> tuple[int, Arrays]:
    arrays = safetensors.numpy.load(hosts.broadcast_bytes(b""))
    return int(arrays.pop("what")[0]), arrays


def _batch_arrays(batch: PromptBatch, sampling: RowSampling) -> Arrays:
    arrays = {
        "tokens": batch.tokens, "lengths": batch.lengths, "temperature": sampling.temperature, "top_p": sampling.top_p,
        "seeds": sampling.seeds,
    }  # fmt: skip
    if isinstance(batch.image_index, WeightedIndex):
        arrays |= {"indices": batch.image_index.indices, "weights": batch.image_index.weights}
    else:
        arrays["index"] = batch.image_index
    if isinstance(batch.pixels, ImageBlocks):
        arrays |= {"blocks": batch.pixels.pixels, "place": batch.pixels.place}
    elif batch.pixels is not None:
        arrays["pixels"] = batch.pixels
    return arrays


def _batch(arrays: Arrays) -> tuple[PromptBatch, RowSampling]:
    index: FeatureIndex = arrays["index"] if "index" in arrays else WeightedIndex(arrays["indices"], arrays["weights"])
    pixels: Pixels | None = arrays.get("pixels")
    if "blocks" in arrays:
        pixels = ImageBlocks(arrays["blocks"], arrays["place"])
    sampling = RowSampling(arrays["temperature"], arrays["top_p"], arrays["seeds"])
    return PromptBatch(arrays["tokens"], pixels, index, arrays["lengths"]), sampling
