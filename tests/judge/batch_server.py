"""The files and batches of the API, for `ApiServer(batch=Batches(...))`."""

from __future__ import annotations

import collections
import json
import re
import urllib.parse
from typing import Any

from tests.judge.api_server import Call, Reply, Script, good

_NUMBER = re.compile(r"#(\d+)")


class Batches:
    """A batch service; its batches end after `polls` status requests.

    Args:
      script: answers each line, as it would a live request.
      answered: number of lines of a batch that are answered before it expires; or all.
      status: what the first batches end as instead, one after the other: ("failed", code), "cancelled" or None.
      lose: number of times that a batch is created but the response to its creation is lost.
    """

    def __init__(
        self, script: Script = good, *, polls: int = 1, answered: int | None = None, status: Any = (), lose: int = 0
    ):
        self.script, self.polls, self.answered, self.status, self.lose = script, polls, answered, list(status), lose
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.looks: collections.Counter[str] = collections.Counter()
        self.asked: collections.Counter[int] = collections.Counter()
        self.sizes: list[int] = []
        self.keys: set[str] = set()

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.keys.add(headers.get("authorization", ""))
        path = urllib.parse.urlsplit(path).path.removeprefix("/v1")
        if (method, path) == ("POST", "/files"):
            return self._upload(headers, body)
        if (method, path) == ("POST", "/batches"):
            return self._create(json.loads(body))
        if (method, path) == ("GET", "/batches"):
            return Reply(body={"object": "list", "data": list(self.batches.values())[::-1], "has_more": False})
        kind, name = path.strip("/").split("/")[:2]
        if kind == "files":
            return Reply(body=self.files[name], headers={"content-type": "application/octet-stream"})
        return self._look(name)

    def _upload(self, headers: dict[str, str], body: bytes) -> Reply:
        boundary = re.search(r"boundary=([^;]+)", headers["content-type"])[1].strip('"').encode()  # type: ignore[index]
        (part,) = [p for p in body.split(b"--" + boundary) if b"filename=" in p]
        content = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        name = f"file-{len(self.files)}"
        self.files[name] = content
        self.sizes.append(content.count(b"\n"))
        return Reply(body=_file(name, len(content)))

    def _create(self, body: dict[str, Any]) -> Reply:
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": body["endpoint"], "input_file_id": body["input_file_id"],
            "completion_window": "24h", "status": "validating", "created_at": 1, "metadata": body["metadata"],
            "output_file_id": None, "error_file_id": None, "errors": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }  # fmt: skip
        if self.lose:
            self.lose -= 1
            return Reply(drop=0)
        return Reply(body=self.batches[name])

    def _look(self, name: str) -> Reply:
        batch = self.batches[name]
        self.looks[name] += 1
        if self.looks[name] <= self.polls:
            batch["status"] = ("validating", "in_progress", "finalizing")[min(self.looks[name] - 1, 2)]
        elif batch["status"] not in ("completed", "expired", "failed", "cancelled"):
            self._end(batch)
        return Reply(body=batch)

    def _end(self, batch: dict[str, Any]) -> None:
        how = self.status.pop(0) if self.status else None
        if isinstance(how, tuple):
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": [{"code": how[1], "message": f"it is {how[1]}"}]}
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        count = len(lines) if self.answered is None else min(self.answered, len(lines))
        batch["status"] = how or ("completed" if count == len(lines) else "expired")
        output, errors = [], []
        for line in lines[:count]:
            reply = self._answer(line)
            response = {"status_code": reply.status, "request_id": "req", "body": reply.body}
            row = {"id": f"{batch['id']}-{line['custom_id']}", "custom_id": line["custom_id"], "response": response}
            (output if reply.status == 200 else errors).append({**row, "error": None})
        if batch["status"] == "expired":
            error = {"code": "batch_expired", "message": "not in time"}
            late = [line["custom_id"] for line in lines[count:-1]]  # the last one has no line at all
            errors += [{"id": f"x{n}", "custom_id": n, "response": None, "error": error} for n in late]
        for kind, rows in (("output", output), ("error", errors)):
            if rows:
                self.files[f"{kind}-{batch['id']}"] = "".join(json.dumps(r) + "\n" for r in rows[::-1]).encode()
                batch[f"{kind}_file_id"] = f"{kind}-{batch['id']}"

    def _answer(self, line: dict[str, Any]) -> Reply:
        number = int(_NUMBER.search(json.dumps(line["body"]["messages"][1]))[1])  # type: ignore[index]
        call = Call(number, self.asked[number], line["body"], {})
        self.asked[number] += 1
        return self.script(call)


def _file(name: str, size: int) -> dict[str, Any]:
    return {
        "id": name, "object": "file", "bytes": size, "created_at": 1, "filename": "x.jsonl", "purpose": "batch",
        "status": "processed",
    }  # fmt: skip
