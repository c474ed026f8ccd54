"""The response format of requests, and the fallback to a simpler one."""

from __future__ import annotations

from typing import Literal

from absl import logging

from mmssr_jax.judge.api.retry import ServerOutcome

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")


class ResponseFormat:
    """The response format in use: with "auto" a strict schema, until the server refuses it.

    Args:
      structured: the config's choice.

    Attributes:
      mode: of the next requests.
    """

    def __init__(self, structured: Literal["auto", "json_schema", "json_object", "text"]):
        self._can_fall_back = structured == "auto"
        self.mode: Mode = "json_schema" if structured == "auto" else structured

    def on_refused(self, mode: Mode, outcome: ServerOutcome) -> ServerOutcome:
        """Falls back to a simpler format after a `no_schema` outcome of a request in `mode`.

        Returns:
          The outcome, or the one that follows if there is no simpler format.
        """
        if mode == MODES[-1]:  # the request named no format: the error must be about its sample
            return ServerOutcome("skip", "bad_request", outcome.detail)
        if not self._can_fall_back:
            return ServerOutcome("stop", "bad_setting", f"response_format: {outcome.detail}")
        simpler = MODES[MODES.index(mode) + 1]
        if self.mode == mode:
            logging.warning("judge: the server refuses response_format %s; continuing with %s", mode, simpler)
            self.mode = simpler
        return outcome
