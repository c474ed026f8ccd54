"""Errors as OpenAI's API words them: `{"error": {"message", "type", "param", "code"}}` and a status.

Source: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BUSY_S = 5  # what a client is told to wait
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
      status: of HTTP.
      param: the field of the request that it is about.
      code: for programs.
      headers: of the reply.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):  # fmt: skip
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def too_busy() -> ApiError:
    """429: the queue is full; the client may come again."""
    headers = {"Retry-After": str(_BUSY_S)}
    return ApiError(429, "the queue is full, try again later", code="rate_limit_exceeded", headers=headers)
