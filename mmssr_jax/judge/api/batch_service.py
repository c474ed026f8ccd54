"""The provider's files and batches: upload, create, status, results."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
from absl import logging

from mmssr_jax.judge.api.batch_journal import BatchPart
from mmssr_jax.judge.api.client_headers import client_headers
from mmssr_jax.judge.api.config import ApiConfig, key_env
from mmssr_jax.judge.api.responses import classify_status
from mmssr_jax.judge.api.retry import RunStoppedError, one_line, stop_message

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_UPLOAD_S = 900.0
_NEWEST = 1000


class BatchService:
    """The Batch API of a config; every method raises RunStoppedError if the run cannot continue.

    Args:
      key: the API key, or None.
      sleep: waits between two attempts.
    """

    def __init__(self, config: ApiConfig, key: str | None, sleep: Callable[[float], None]):
        self._config, self._sleep = config, sleep
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=config.url,
            default_headers=client_headers(config, key),
            max_retries=config.limits.max_attempts,
            timeout=max(_UPLOAD_S, config.limits.timeout_s),
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def upload(self, path: Path) -> str:
        """The id of the uploaded file."""
        with self._errors():
            return self._client.files.create(file=path, purpose="batch").id

    def create(self, part: BatchPart, *, may_exist: bool) -> str:
        """Creates the part's batch, exactly once even if a response is lost, and returns its id.

        Args:
          may_exist: an earlier run may have created it.
        """
        with self._errors():
            for attempts_left in reversed(range(self._config.limits.max_attempts)):
                batch_id = self._find(part.key) if may_exist else None
                if batch_id is not None:
                    return batch_id
                try:
                    # The client's built-in retries could create, and pay for, a second batch.
                    once = self._client.with_options(max_retries=0)
                    return once.batches.create(
                        input_file_id=part.file_id,
                        endpoint=ENDPOINT,
                        completion_window="24h",
                        metadata={"part": part.key},
                    ).id
                except (openai.APIConnectionError, openai.InternalServerError):
                    if not attempts_left:
                        raise
                    may_exist = True
                    self._sleep(min(10.0, self._config.batch.poll_s))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _find(self, key: str) -> str | None:
        """The newest batch whose metadata hold the part's key."""
        for batch in itertools.islice(self._client.batches.list(limit=100), _NEWEST):
            if (batch.metadata or {}).get("part") == key:
                return batch.id
        return None

    def retrieve(self, batch_id: str) -> Any:
        """The batch with its current status."""
        with self._errors():
            return self._client.batches.retrieve(batch_id)

    def results(self, batch: Any) -> Iterator[dict[str, Any]]:
        """The lines of the output and the error file; a line that is no JSON object is skipped with a warning."""
        for file_id in (batch.output_file_id, batch.error_file_id):
            if not file_id:
                continue
            with self._errors(), self._client.files.with_streaming_response.content(file_id) as response:
                for line in response.iter_lines():
                    try:
                        value = json.loads(line)
                    except ValueError:
                        value = None
                    if isinstance(value, dict):
                        yield value
                    elif line.strip():
                        logging.warning("judge: batch %s has a line that is not a JSON object: %s", batch.id, line[:80])

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except openai.APIStatusError as e:
            config = self._config
            outcome = classify_status(e.status_code, e.body, e.response.headers, max_wait_s=config.limits.max_wait_s)
            line = stop_message(outcome, server=config.url, model=config.model, key_env=key_env(config))
            raise RunStoppedError(outcome.reason, line) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as e:
            detail = one_line(e.__cause__ or e)
            line = f"judge: {self._config.url} does not answer (no_answers: {detail}); run the same command again later"
            raise RunStoppedError("no_answers", line) from None
