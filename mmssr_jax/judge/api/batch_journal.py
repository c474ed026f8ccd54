"""The journal of open batches, from which a restarted run finds them again.

`judge/batches.jsonl`, append-only and synced line by line:

    {"event": "uploaded", "part", "judge", "prompt_hash", "file_id", "mode", "usd", "asked": [[id, repeat, attempt]]}
    {"event": "created",  "part", "batch_id"}
    {"event": "finished", "part", "status"}

For a part that was uploaded and has no batch id yet, the provider's batches are searched: their metadata hold its key.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.api.response_format import Mode
from mmssr_jax.judge.base import Request


@dataclasses.dataclass
class BatchPart:
    """Requests that were uploaded in one file.

    Attributes:
      key: identifies the part in the batch's metadata.
      requests: request and attempt, in the order of the file's lines; the line's number is its custom id.
      mode: the response format.
      usd: the most that each request can cost, on average.
      batch_id: None until the batch is created.
    """

    key: str
    file_id: str
    requests: Sequence[tuple[Request, int]]
    mode: Mode
    usd: float
    batch_id: str | None = None


class BatchJournal:
    """The file of open batches; the ledger's lock protects it too."""

    def __init__(self, path: Path, *, judge: str, prompt_hash: str):
        self._path, self._judge, self._prompt_hash = path, judge, prompt_hash

    def open_parts(self) -> list[BatchPart]:
        """Parts of this judge that are not finished; an incomplete last line is cut off.

        Raises:
          UserError: a line other than the last is invalid.
        """
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        if complete != data:
            os.truncate(self._path, len(complete))
        parts: dict[str, BatchPart] = {}
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                self._apply(parts, json.loads(line))
            except (ValueError, LookupError, TypeError) as e:
                raise UserError(f"{self._path}:{number}: not a journal line ({e})") from None
        return list(parts.values())

    def _apply(self, parts: dict[str, BatchPart], event: dict[str, Any]) -> None:
        key = event["part"]
        if event["event"] == "uploaded":
            if (event["judge"], event["prompt_hash"]) == (self._judge, self._prompt_hash):
                requests = [(Request(i, repeat), attempt) for i, repeat, attempt in event["asked"]]
                parts[key] = BatchPart(key, event["file_id"], requests, event["mode"], event["usd"])
        elif event["event"] == "created" and key in parts:
            parts[key].batch_id = event["batch_id"]
        elif event["event"] == "finished":
            parts.pop(key, None)

    def uploaded(self, part: BatchPart) -> None:
        """Records an uploaded file."""
        asked = [[r.id, r.repeat, attempt] for r, attempt in part.requests]
        self._append(
            {
                "event": "uploaded", "part": part.key, "judge": self._judge, "prompt_hash": self._prompt_hash,
                "file_id": part.file_id, "mode": part.mode, "usd": part.usd, "asked": asked,
            }
        )  # fmt: skip

    def created(self, part: BatchPart) -> None:
        """Records the part's batch."""
        self._append({"event": "created", "part": part.key, "batch_id": part.batch_id})

    def finished(self, part: BatchPart, status: str) -> None:
        """Records that all answers of the part are in the ledger."""
        self._append({"event": "finished", "part": part.key, "status": status})

    def _append(self, event: dict[str, Any]) -> None:
        with open(self._path, "ab") as f:
            f.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())
