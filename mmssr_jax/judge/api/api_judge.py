"""The part of an API judge that does not depend on how requests are sent."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Sequence
from typing import ClassVar

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.progress import Progress
from mmssr_jax.judge.api.config import ApiConfig, data_egress_notice, read_key
from mmssr_jax.judge.api.recorder import OutcomeRecorder
from mmssr_jax.judge.api.requests import RequestBuilder
from mmssr_jax.judge.api.retry import RunStoppedError
from mmssr_jax.judge.base import Estimate, Lookup, Request
from mmssr_jax.judge.ledger import Ledger
from mmssr_jax.judge.rubric import Rubric


class ApiJudge(abc.ABC):
    """Implements `Judge`, except for sending the requests.

    Args:
      lookup: the sample of an id.
      origin: the samples' folder and sources, for the notice before they leave the machine.
    """

    rated_ids: Collection[str] | None = None
    _batch: ClassVar[bool]

    def __init__(self, config: ApiConfig, rubric: Rubric, lookup: Lookup, *, origin: str):
        self._config, self._rubric, self._origin = config, rubric, origin
        self._builder = RequestBuilder(config, rubric, lookup)
        self.name, self.prompt_hash = self._builder.name, self._builder.prompt_hash

    def check(self) -> None:
        """Raises UserError if the key is not in the environment."""
        read_key(self._config)

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """See `RequestBuilder.estimate`."""
        notice = data_egress_notice(self._config, len(requests), self._origin)
        return dataclasses.replace(self._builder.estimate(requests, batch=self._batch), notice=notice)

    def judge(self, requests: Sequence[Request], ledger: Ledger, progress: Progress) -> None:
        """Sends every request, until it is answered or given up.

        Raises:
          UserError: the run stopped; the line says why, and how to continue.
        """
        key = read_key(self._config)
        if key is not None:
            ledger.add_secret(key)
        logging.warning("%s", data_egress_notice(self._config, len(requests), self._origin))
        recorder = OutcomeRecorder(self._builder, ledger, progress)
        error: RunStoppedError | None = None
        completed = False
        try:
            self._run(requests, key, recorder)
            completed = True
        except RunStoppedError as e:
            error = e
        finally:
            error = recorder.finish(completed=completed) or error
        if error is not None:
            raise UserError(ledger.redact(str(error)))

    @abc.abstractmethod
    def _run(self, requests: Sequence[Request], key: str | None, recorder: OutcomeRecorder) -> None:
        """Sends the requests and records their outcomes; raises RunStoppedError if the run cannot continue."""
