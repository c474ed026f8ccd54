"""Errors in the format of OpenAI's API: `{"error": {"message", "type", "param", "code"}}` and a status.

Source: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RETRY_AFTER_S = 5
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
      status: the HTTP status.
      param: the field of the request that is invalid.
      code: a machine-readable code.
      headers: of the response.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):  # fmt: skip
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The response's JSON."""
        error_type = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": error_type, "param": self.param, "code": self.code}}


def too_busy() -> ApiError:
    """429: the queue is full; the client may retry."""
    headers = {"Retry-After": str(_RETRY_AFTER_S)}
    return ApiError(429, "the queue is full, try again later", code="rate_limit_exceeded", headers=headers)
