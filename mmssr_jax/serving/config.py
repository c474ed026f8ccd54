"""Settings of the serve stage: the section `config.serve`."""

from __future__ import annotations

import dataclasses
import re

from mmssr_jax.generation.prompting import PromptConfig

_LOCAL = ("127.0.0.1", "::1", "localhost")
_BUCKETS = PromptConfig(rows=8)


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """What is served, to whom, and how much at once.

    Attributes:
      model: a run of this workdir, "base", or a folder.
      name: what clients call the model; by default `model`.
      host, port: where to listen; port 0 takes a free one.
      token_env: the environment variable that holds the access token. Without one only this machine can be served.
      prompts: shapes of the batches; up to `rows` requests of one shape are answered together.
      max_tokens: the longest answer; a request that asks for more gets this many.
      chunk: tokens between two pieces of a streamed answer; divides `max_tokens`.
      wait_ms: how long the first of a batch waits for others.
      queue: requests that may wait; more are refused with 429.
      max_body_mib: of one request.
      max_images: pictures in one request.
      timeout_s: a request that is not finished by then is given up with 504.
      shutdown_s: how long requests in flight may go on after SIGTERM or Ctrl-C.
      warm_up: compile for a text and for a picture before the first request.
    """

    model: str = "base"
    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token_env: str | None = None
    prompts: PromptConfig = _BUCKETS
    max_tokens: int = 256
    chunk: int = 8
    wait_ms: int = 10
    queue: int = 64
    max_body_mib: int = 32
    max_images: int = 8
    timeout_s: float = 600.0
    shutdown_s: float = 30.0
    warm_up: bool = True

    def __post_init__(self) -> None:
        if self.token_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.token_env):
            raise ValueError("token_env does not look like the name of an environment variable (it is no token)")
        if self.token_env is None and self.host not in _LOCAL:
            raise ValueError(f"host={self.host!r} is open to other machines: name the variable of a token in token_env")
        if min(self.max_tokens, self.chunk, self.queue, self.max_body_mib) < 1 or self.max_images < 0:
            raise ValueError("max_tokens, chunk, queue and max_body_mib must be at least 1, max_images at least 0")
        if self.max_tokens % self.chunk:
            raise ValueError(f"chunk={self.chunk} does not divide max_tokens={self.max_tokens}")
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port={self.port} is no port")
        if min(self.wait_ms, self.timeout_s, self.shutdown_s) < 0:
            raise ValueError("wait_ms, timeout_s and shutdown_s must not be negative")

    @property
    def served_name(self) -> str:
        """What clients call the model."""
        return self.name or self.model
