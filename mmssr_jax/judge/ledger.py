"""The ledger: an append-only file with one line per request, from which all judgments are made.

A background thread writes and syncs lines in groups, at most `commit_every` seconds apart; an answer that is not in
the file does not count. The file is never rewritten; only an incomplete last line is cut off when it is opened.

A line: `{"id", "judge", "prompt_hash", "repeat", "attempt", "outcome", "reason", "detail", "raw", "usage",
"cost", "cost_estimated", "model", "system_fingerprint", "request_id", "mode", "latency_s", "time"}`; of these only
`latency_s`, `time` and `request_id` differ between equal runs.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from absl import logging

from mmssr_jax.core.errors import UserError
from mmssr_jax.core.lock import taken

Action = Literal["ok", "retry", "skip", "stop"]
Key = tuple[str, str, str, int]  # judge, prompt hash, sample id, repeat


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One request and its outcome.

    Attributes:
      id, judge, prompt_hash, repeat: the rating.
      attempt: 1 for the first request of a rating.
      outcome: "ok"; "retry" (requested again); "skip" (given up, see reason); "stop" (it ended the run).
      reason: why it is not "ok"; see `judge.api.retry`.
      detail: the server's message, in one line.
      raw: the answer's text, or None without an answer; a very long text is shortened.
      usage: token counts as reported by the server.
      cost: US dollars.
      cost_estimated: the server reported no usage, so `cost` is the most that the request can have cost.
      model: the model as named by the server.
      mode: the response format ("json_schema", "json_object", "text"); empty for local judges.
      latency_s: seconds from the request to the answer.
      time: UTC, ISO 8601.
    """

    id: str
    judge: str
    prompt_hash: str
    repeat: int = 0
    attempt: int = 1
    outcome: Action = "ok"
    reason: str = ""
    detail: str = ""
    raw: str | None = None
    usage: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cost: float = 0.0
    cost_estimated: bool = False
    model: str = ""
    system_fingerprint: str | None = None
    request_id: str | None = None
    mode: str = ""
    latency_s: float = 0.0
    time: str = ""

    @property
    def key(self) -> Key:
        """The rating this line is about."""
        return (self.judge, self.prompt_hash, self.id, self.repeat)

    @property
    def settled(self) -> bool:
        """Whether the rating needs no further request."""
        return self.outcome in ("ok", "skip")


_TEXT, _OPTIONAL_TEXT, _NUMBER = (str,), (str, type(None)), (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "judge", "prompt_hash", "outcome", "reason", "detail", "model", "mode", "time"), _TEXT),
    **dict.fromkeys(("raw", "system_fingerprint", "request_id"), _OPTIONAL_TEXT),
    **dict.fromkeys(("cost", "latency_s"), _NUMBER),
    "repeat": (int,), "attempt": (int,), "usage": (dict,), "cost_estimated": (bool,),
}  # fmt: skip
_FIELDS = tuple(f.name for f in dataclasses.fields(LedgerEntry))
_SERVER_TEXT = ("raw", "detail", "request_id", "system_fingerprint")
_MIN_SECRET_LENGTH = 8
_LARGEST = 1e12  # dollars or seconds


def now() -> str:
    """The current time in the ledger's format."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def read_ledger(path: Path) -> Iterator[LedgerEntry]:
    """Yields the entries of a ledger, whose last line may be incomplete.

    Raises:
      UserError: another line than the last is not an entry.
    """
    if not path.exists():
        return
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _entry(line)
            except (ValueError, TypeError, RecursionError) as e:
                raise UserError(f"{path}:{number}: not a ledger line ({e}); move the file away or repair it") from None


def _entry(line: bytes) -> LedgerEntry:
    """Parses a line.

    Raises:
      ValueError, TypeError, RecursionError: it is not an entry.
    """
    value = json.loads(line)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    entry = LedgerEntry(**value)
    for field in dataclasses.fields(entry):
        found = getattr(entry, field.name)
        if not isinstance(found, _TYPES[field.name]):
            raise TypeError(f"its {field.name} is {str(found)[:40]!r}")
    for name in ("cost", "latency_s"):
        if not abs(getattr(entry, name)) < _LARGEST:  # nor NaN
            raise TypeError(f"its {name} is {str(getattr(entry, name))[:40]}")
    if not all(isinstance(count, int) for count in entry.usage.values()):
        raise TypeError(f"its usage is {str(entry.usage)[:40]!r}")
    return entry


class Ledger:
    """The ledger, open for appending by this process alone.

    Attributes:
      settled: ratings that need no further request.
      attempts: number of requests so far for each rating that is not settled.
      requests: number of lines in the file.
      spent: their cost in US dollars.

    Args:
      path: the file; created if missing.
      ask_again: reasons of skipped ratings that are requested again.
      commit_every: maximum number of seconds between two syncs.

    Raises:
      UserError: another process has the file open, or a line is invalid.
    """

    def __init__(self, path: Path, *, ask_again: Sequence[str] = (), commit_every: float = 0.05):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._secrets: list[str] = []
        self._commit_every = commit_every
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if not taken(lambda: fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB), str(path)):
            os.close(self._fd)
            raise UserError(f"{path} is in use: another run is judging in this workdir; wait for it")
        self.settled: set[Key] = set()
        self.attempts: dict[Key, int] = {}
        self.requests = 0
        self.spent = 0.0
        try:
            self._repair()
            for entry in read_ledger(path):
                self._count(entry, again=entry.outcome == "skip" and entry.reason in ask_again)
        except BaseException:
            os.close(self._fd)
            raise
        self._buffer: list[bytes] = []
        self._error: OSError | None = None
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._commit_in_groups, name="ledger", daemon=True)
        self._thread.start()

    def _repair(self) -> None:
        """Completes a last line that lacks only its newline, or cuts off an incomplete one."""
        size = os.fstat(self._fd).st_size
        start, tail = size, b""
        while start and b"\n" not in tail:
            start = max(0, start - 65536)
            tail = os.pread(self._fd, size - start, start)
        torn = tail.rsplit(b"\n", 1)[-1]
        if not torn:
            return
        try:
            _entry(torn)
            os.write(self._fd, b"\n")
        except (ValueError, TypeError, RecursionError):
            os.ftruncate(self._fd, size - len(torn))
            logging.warning("%s: the last line was incomplete (%d bytes) and is cut off", self.path, len(torn))
        os.fsync(self._fd)

    def _count(self, entry: LedgerEntry, *, again: bool) -> None:
        if entry.settled and not again:
            self.settled.add(entry.key)
            self.attempts.pop(entry.key, None)
        else:
            self.attempts[entry.key] = 0 if again else self.attempts.get(entry.key, 0) + 1
        self.requests += 1
        self.spent += entry.cost

    def add_secret(self, secret: str) -> None:
        """Keeps an API key out of the file: `redact` is applied to the text that comes from the server.

        So are its spelling within an error message, which may be a repr, and its parts, should it hold several keys.
        A shorter string than any real key is ignored, because dummy keys such as "x" are part of many words.
        """
        spellings = {secret, repr(secret)[1:-1], *secret.split()}
        self._secrets += sorted((s for s in spellings if len(s) >= _MIN_SECRET_LENGTH), key=len, reverse=True)

    def redact(self, text: str) -> str:
        """`text` with "[secret]" in place of every API key."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    def append(self, entry: LedgerEntry) -> None:
        """Queues a line for the next commit.

        Raises:
          UserError: an earlier commit failed (a full disk).
        """
        fields = {name: getattr(entry, name) for name in _FIELDS}
        for name in _SERVER_TEXT:
            if fields[name] is not None:
                fields[name] = self.redact(fields[name])
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            self._raise_error()
            self._buffer.append(line.encode("utf-8", "replace") + b"\n")
            self.requests += 1
            self.spent += entry.cost
        self._wake.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise UserError(f"{self.path} cannot be written: {self._error.strerror}; make room and run again")

    def _commit_in_groups(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._commit()
            self._closing.wait(self._commit_every)

    def _commit(self) -> None:
        with self._writing:
            with self._lock:
                lines, self._buffer = self._buffer, []
            if not lines or self._error is not None:
                return
            try:
                data = memoryview(b"".join(lines))
                while data:
                    data = data[os.write(self._fd, data) :]
                os.fsync(self._fd)
            except OSError as e:
                self._error = e

    def flush(self) -> None:
        """Returns when all appended entries are in the file.

        Raises:
          UserError: it could not be written.
        """
        self._commit()
        self._raise_error()

    def close(self) -> None:
        """Commits what is queued and closes the file.

        Raises:
          UserError: it could not be written.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._commit()
        os.close(self._fd)
        self._raise_error()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self.close()
