"""Which batches are on their way: what a restarted run needs to find them again.

`judge/batches.jsonl`, append-only and synced line by line:

    {"event": "uploaded", "part", "judge", "prompt_hash", "file_id", "mode", "usd", "asked": [[id, repeat, attempt]]}
    {"event": "created",  "part", "batch_id"}
    {"event": "finished", "part", "status"}

A part that was uploaded and has no batch yet is looked for among the provider's batches, whose metadata name the part.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.api.requests import Mode
from mmssr_jax.judge.base import Request


@dataclasses.dataclass
class Part:
    """Requests that were uploaded together.

    Attributes:
      key: names the part in the batch's metadata.
      asked: request and attempt, in the order of the file's lines; the line's number is its custom id.
      mode: how the answers' form was asked for.
      usd: what each costs at most, on the average.
      batch_id: None until the batch was created.
    """

    key: str
    file_id: str
    asked: Sequence[tuple[Request, int]]
    mode: Mode
    usd: float
    batch_id: str | None = None


class Journal:
    """The file of open batches; the ledger's lock guards it too."""

    def __init__(self, path: Path, *, judge: str, prompt_hash: str):
        self._path, self._judge, self._prompt_hash = path, judge, prompt_hash

    def open_parts(self) -> list[Part]:
        """Parts of this judge that are not finished; a torn last line is cut off.

        Raises:
          UserError: another line than the last is broken.
        """
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self._path, len(whole))
        parts: dict[str, Part] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._apply(parts, json.loads(line))
            except (ValueError, LookupError, TypeError) as e:
                raise UserError(f"{self._path}:{number}: not a journal line ({e})") from None
        return list(parts.values())

    def _apply(self, parts: dict[str, Part], event: dict[str, Any]) -> None:
        key = event["part"]
        if event["event"] == "uploaded":
            if (event["judge"], event["prompt_hash"]) == (self._judge, self._prompt_hash):
                asked = [(Request(i, repeat), attempt) for i, repeat, attempt in event["asked"]]
                parts[key] = Part(key, event["file_id"], asked, event["mode"], event["usd"])
        elif event["event"] == "created" and key in parts:
            parts[key].batch_id = event["batch_id"]
        elif event["event"] == "finished":
            parts.pop(key, None)

    def uploaded(self, part: Part) -> None:
        """Notes a file that is at the provider."""
        asked = [[r.id, r.repeat, attempt] for r, attempt in part.asked]
        self._append(
            {
                "event": "uploaded", "part": part.key, "judge": self._judge, "prompt_hash": self._prompt_hash,
                "file_id": part.file_id, "mode": part.mode, "usd": part.usd, "asked": asked,
            }
        )  # fmt: skip

    def created(self, part: Part) -> None:
        """Notes the part's batch."""
        self._append({"event": "created", "part": part.key, "batch_id": part.batch_id})

    def finished(self, part: Part, status: str) -> None:
        """Notes that all its answers are in the ledger."""
        self._append({"event": "finished", "part": part.key, "status": status})

    def _append(self, event: dict[str, Any]) -> None:
        with open(self._path, "ab") as f:
            f.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())
