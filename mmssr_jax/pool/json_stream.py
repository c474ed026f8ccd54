"""Streams the records of a JSON list or a JSONL file with their byte offsets.

Only one record is in memory at a time, so files with millions of records can be read.
"""

from __future__ import annotations

import codecs
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mmssr_jax.core.errors import UserError
from mmssr_jax.pool.limits import MAX_RECORD_BYTES

CHUNK_BYTES = 1 << 20

_BOM = codecs.BOM_UTF8
_SPACE = " \t\n\r"
_MAX_FAILURES = 100  # a file whose first lines all fail to parse is not JSONL
_DECODER = json.JSONDecoder()
# Possible ends of a text that was cut inside a token: in a literal, a number, or an escape.
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_BEGUN = re.compile(r"\.|[eE][+-]?|\\|\\?u[0-9a-fA-F]{0,4}")


@dataclasses.dataclass(frozen=True, slots=True)
class JsonRecord:
    """One element of the list, or one line.

    Attributes:
      offset: byte offset of its start in the file.
      raw: its original bytes.
      value: the parsed value; None if `error` is set.
      error: why a line does not parse, else empty. An error in a list ends the whole file instead.
    """

    offset: int
    raw: bytes
    value: Any
    error: str = ""


def read_records(path: Path, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[JsonRecord]:
    """Yields the records of `path`: a JSON list if its first character is `[`, else JSONL.

    Args:
      path: the file, in UTF-8 (a byte-order mark is skipped).
      chunk_bytes: number of bytes per read.

    Raises:
      UserError: the file is missing, empty, not UTF-8, truncated or not JSON; the message names the position.
    """
    try:
        f = open(path, "rb")  # noqa: SIM115 - closed by the with below
    except OSError as e:
        raise UserError(f"{path}: cannot be read ({e.strerror or e})") from None
    with f:
        head = f.read(4)
        if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise UserError(f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
        start = len(_BOM) if head.startswith(_BOM) else 0
        f.seek(start)
        first = _first_character(f)
        f.seek(start)
        if not first:
            raise UserError(f"{path}: is empty; expected a JSON list of records, or one record per line")
        if first == b"[":
            yield from _ListReader(f, path, start, chunk_bytes).records()
        else:
            yield from _lines(f, path, start)


def _first_character(f: BinaryIO) -> bytes:
    while block := f.read(4096):
        if stripped := block.lstrip():
            return stripped[:1]
    return b""


def _line_of(path: Path, offset: int) -> int:
    """The line number of a byte, for an error message."""
    with open(path, "rb") as f:
        lines = 1
        while offset > 0 and (block := f.read(min(offset, CHUNK_BYTES))):
            lines += block.count(b"\n")
            offset -= len(block)
        return lines


def _not_utf8(path: Path, offset: int) -> UserError:
    return UserError(
        f"{path}: not valid UTF-8 at byte {offset} (line {_line_of(path, offset)}); "
        f"if it is Latin-1, convert it: iconv -f latin1 -t utf-8 {path.name} > utf8.json"
    )


class _ListReader:
    """A sliding window of decoded text over the file; `pos` is the next character, at byte `offset`."""

    def __init__(self, f: BinaryIO, path: Path, start: int, chunk_bytes: int):
        self.f, self.path, self.chunk_bytes = f, path, chunk_bytes
        self.utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        self.text, self.pos = "", 0
        self.offset = self.read_to = start
        self.at_end = False
        self.count = 0

    def records(self) -> Iterator[JsonRecord]:
        """Yields the elements of the list."""
        self._advance(self._skip_space(expected="[") + 1)
        if self._peek() == "]":
            self._close()
            return
        while True:
            self._skip_space()
            value, length = self._element()
            raw = self.text[self.pos : self.pos + length].encode("utf-8")
            yield JsonRecord(self.offset, raw, value)
            self.pos, self.offset = self.pos + length, self.offset + len(raw)
            self.count += 1
            separator = self._peek()
            if separator == "]":
                self._close()
                return
            if separator != ",":
                raise self._broken(self.pos, "expected ',' or ']'")
            self._advance(self.pos + 1)

    def _fill(self, size: int) -> None:
        """Reads the next chunk and discards the text before `pos`."""
        chunk = self.f.read(size)
        self.at_end = not chunk
        try:
            decoded = self.utf8.decode(chunk, final=self.at_end)
        except UnicodeDecodeError as e:
            raise _not_utf8(self.path, self.read_to + len(chunk) - len(e.object) + e.start) from None
        self.read_to += len(chunk)
        self.text, self.pos = self.text[self.pos :] + decoded, 0

    def _advance(self, to: int) -> None:
        """Moves `pos` and the byte offset."""
        self.offset += self._bytes_until(to)
        self.pos = to

    def _bytes_until(self, to: int) -> int:
        passed = self.text[self.pos : to]
        return len(passed) if passed.isascii() else len(passed.encode("utf-8"))

    def _skip_space(self, expected: str = "") -> int:
        """Moves to the next character that is not white space, and returns its index in the window."""
        while True:
            end = len(self.text)
            at = self.pos
            while at < end and self.text[at] in _SPACE:
                at += 1
            self._advance(at)
            if at < end:
                break
            if self.at_end:
                raise self._cut()
            self._fill(self.chunk_bytes)
        if expected and self.text[self.pos] != expected:
            raise self._broken(self.pos, f"expected {expected!r}")
        return self.pos

    def _peek(self) -> str:
        at = self._skip_space()  # may replace the text
        return self.text[at]

    def _element(self) -> tuple[Any, int]:
        """Parses the element at `pos`: its value and its length in characters."""
        size = self.chunk_bytes
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.pos)
                # A number may continue past the window's edge: "12" of "1234", of "12.5", of "12e+5".
                if end + len("e+") < len(self.text) or self.at_end:
                    return value, end - self.pos
            except json.JSONDecodeError as e:
                if self.at_end:
                    raise (self._cut() if self._ran_out(e) else self._broken(e.pos, e.msg)) from None
                if not self._ran_out(e):
                    raise self._broken(e.pos, e.msg) from None
                if len(self.text) - self.pos > MAX_RECORD_BYTES:
                    raise self._broken(
                        self.pos, f"record {self.count} is longer than {MAX_RECORD_BYTES >> 20} MiB; a missing quote?"
                    ) from None
            except (ValueError, RecursionError) as e:  # a number of thousands of digits, a thousand nested lists
                raise self._broken(self.pos, str(e)) from None
            self._fill(size)
            size *= 2

    def _ran_out(self, error: json.JSONDecodeError) -> bool:
        """Whether the window ended inside a value, rather than the text being invalid at the error's position."""
        if error.msg.startswith("Unterminated string"):
            return True
        tail = self.text[error.pos : error.pos + 16].lstrip(_SPACE)
        return any(word.startswith(tail) for word in _LITERALS) or _BEGUN.fullmatch(tail) is not None

    def _close(self) -> None:
        """Nothing but white space may follow the list."""
        self._advance(self.pos + 1)
        while True:
            rest = self.text[self.pos :].lstrip(_SPACE)
            if rest:
                raise self._broken(len(self.text) - len(rest), "there is text after the end of the list")
            self._advance(len(self.text))
            if self.at_end:
                return
            self._fill(self.chunk_bytes)

    def _cut(self) -> UserError:
        return UserError(
            f"{self.path}: not valid JSON: the file ends at byte {self.read_to} inside the list, after "
            f"{self.count} complete records; it was cut off, fetch or copy it again"
        )

    def _broken(self, at: int, message: str) -> UserError:
        offset = self.offset + self._bytes_until(at)
        return UserError(
            f"{self.path}: not valid JSON at byte {offset} (line {_line_of(self.path, offset)}, record {self.count}): "
            f"{message}; repair the file there"
        )


def _lines(f: BinaryIO, path: Path, start: int) -> Iterator[JsonRecord]:
    """Yields one record per line; blank lines are skipped."""
    offset, number, failures, successes = start, 0, 0, 0
    while line := f.readline(MAX_RECORD_BYTES + 1):
        number += 1
        content = line.strip()
        here = offset + line.find(content)
        offset += len(line)
        if not content:
            continue
        if len(line) > MAX_RECORD_BYTES:
            raise UserError(f"{path}: line {number} is longer than {MAX_RECORD_BYTES >> 20} MiB; is it JSONL?")
        record = _line(content, here, path, number)
        failures += bool(record.error)
        successes += not record.error
        if failures == _MAX_FAILURES and not successes:
            break
        yield record
    if not successes:
        raise UserError(f"{path}: neither a JSON list of records nor one record per line")


def _line(content: bytes, offset: int, path: Path, number: int) -> JsonRecord:
    try:
        return JsonRecord(offset, content, json.loads(content.decode("utf-8")))
    except UnicodeDecodeError as e:
        raise _not_utf8(path, offset + e.start) from None
    except (ValueError, RecursionError) as e:
        return JsonRecord(offset, content, None, f"line {number} does not parse: {e}")
