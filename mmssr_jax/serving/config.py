"""The config section `serve`."""

from __future__ import annotations

import dataclasses
import re

from mmssr_jax.generation.prompting import PromptConfig

_LOCAL = ("127.0.0.1", "::1", "localhost")
_BUCKETS = PromptConfig(rows=8)


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """The served model, its address, and its limits.

    Attributes:
      model: a run of this workdir, "base", or a folder.
      name: the model's name for clients; by default `model`.
      host, port: the address to listen at; port 0 takes a free one.
      token_env: the environment variable that holds the access token. Without one, only this machine has access.
      prompts: batch shapes; up to `rows` requests of one shape are answered together.
      max_tokens: the maximum length of an answer, whatever a request says.
      chunk: tokens between two chunks of a streamed answer; divides `max_tokens`.
      wait_ms: how long the first request of a batch waits for others.
      queue: maximum number of waiting requests; more are refused with 429.
      max_body_mib: maximum size of a request.
      max_chars: maximum number of characters of a request's text, checked before it is tokenised.
      max_images: maximum number of images in a request; each frame of a video is one.
      max_choices: maximum number of answers to a request (`n`); at most `queue`.
      cors: origins whose pages may send requests from a browser, such as "http://localhost:3000"; "*" is all of them.
      timeout_s: a request that is not finished by then is answered with 504.
      header_timeout_s: a connection that has not sent a request's headers by then is closed.
      body_timeout_s: a request whose body has not arrived by then is answered with 408.
      send_timeout_s: a connection that does not read its answer for this long is closed.
      shutdown_s: how long requests in flight may take after SIGTERM or Ctrl-C.
      warm_up: compile for the shapes of common prompts before the first request.
      warm_up_images: the numbers of images in these prompts; the images are square, wide and tall.
      warm_up_lengths: the number of padded lengths of each, from the shortest on.
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
    max_chars: int = 32_768
    max_images: int = 8
    max_choices: int = 8
    cors: tuple[str, ...] = ()
    timeout_s: float = 600.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    send_timeout_s: float = 60.0
    shutdown_s: float = 30.0
    warm_up: bool = True
    warm_up_images: tuple[int, ...] = (0, 1)
    warm_up_lengths: int = 2

    def __post_init__(self) -> None:
        if self.token_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.token_env):
            raise ValueError("token_env must be the name of an environment variable, not the token itself")
        if self.token_env is None and self.host not in _LOCAL:
            raise ValueError(
                f"host={self.host!r} is open to other machines: set token_env, the variable that holds a token"
            )
        counts = ("max_tokens", "chunk", "queue", "max_body_mib", "max_chars", "max_choices", "warm_up_lengths")
        if any(getattr(self, name) < 1 for name in counts) or self.max_images < 0:
            raise ValueError(f"{', '.join(counts)} must be at least 1, max_images at least 0")
        if any(count < 0 for count in self.warm_up_images):
            raise ValueError(f"warm_up_images: {self.warm_up_images} must not be negative")
        if any("/" in origin.partition("://")[2] for origin in self.cors):
            raise ValueError(f"cors: {self.cors} are origins, scheme://host:port without a path")
        if self.max_tokens % self.chunk:
            raise ValueError(f"chunk={self.chunk} does not divide max_tokens={self.max_tokens}")
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port is {self.port}, expected 0-65535")
        if min(self.wait_ms, self.timeout_s, self.shutdown_s) < 0:
            raise ValueError("wait_ms, timeout_s and shutdown_s must not be negative")
        if min(self.header_timeout_s, self.body_timeout_s, self.send_timeout_s) <= 0:
            raise ValueError("header_timeout_s, body_timeout_s and send_timeout_s must be above 0")

    @property
    def served_name(self) -> str:
        """The model's name for clients."""
        return self.name or self.model
