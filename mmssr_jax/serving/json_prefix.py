"""Beginnings of a JSON object: which characters may follow, and the shortest text that completes it (RFC 8259)."""

from __future__ import annotations

import dataclasses

_SPACE = " \t\n\r"
_DIGITS = "0123456789"
_CLOSING = {"{": "}", "[": "]"}
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}
_ESCAPES = '"\\/bfnrt'

# Inside a number: what may follow, as characters -> state. In states of `_WHOLE` the number may also end.
_NUMBER: dict[str, dict[str, str]] = {
    "minus": {"0": "zero", "123456789": "int"},
    "zero": {".": "dot", "eE": "e"},
    "int": {_DIGITS: "int", ".": "dot", "eE": "e"},
    "dot": {_DIGITS: "fraction"},
    "fraction": {_DIGITS: "fraction", "eE": "e"},
    "e": {"+-": "sign", _DIGITS: "exponent"},
    "sign": {_DIGITS: "exponent"},
    "exponent": {_DIGITS: "exponent"},
}
_WHOLE = ("zero", "int", "fraction", "exponent")

# Text that completes what is open, before the brackets are closed.
_REST = {
    "first key": "", "key": '"":0', "colon": ":0", "value": "0", "first value": "", "after": "", "start": "{}",
    "minus": "0", "dot": "0", "e": "0", "sign": "0", **dict.fromkeys(_WHOLE, ""),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class JsonPrefix:
    """The state after a beginning of a JSON object.

    Attributes:
      state: what is expected next.
      open: the open brackets, outermost first.
      is_key: whether the string that is being read is a key.
      left: of a literal, or of an escape in hexadecimal digits, what is still to come.
    """

    state: str = "start"
    open: str = ""
    is_key: bool = False
    left: str = ""

    @property
    def complete(self) -> bool:
        """Whether the object has ended; nothing may follow."""
        return self.state == "end"

    def feed(self, text: str) -> JsonPrefix | None:
        """The state after `text`; None if no JSON object begins so."""
        prefix = self
        for character in text:
            after = prefix._next(character)
            if after is None:
                return None
            prefix = after
        return prefix

    def closing(self) -> str:
        """A short text that completes the object."""
        if self.complete:
            return ""
        rest = _REST.get(self.state, self.left)  # of a literal: its other letters
        if self.state in ("string", "escape", "hex"):
            rest = {"string": "", "escape": "n", "hex": self.left}[self.state] + ('":0' if self.is_key else '"')
        return rest + "".join(_CLOSING[bracket] for bracket in reversed(self.open))

    def _to(self, state: str, **more: str | bool) -> JsonPrefix:
        return dataclasses.replace(self, state=state, **more)  # type: ignore[arg-type]

    def _next(self, c: str) -> JsonPrefix | None:
        if self.state in _NUMBER:
            found = next((state for chars, state in _NUMBER[self.state].items() if c in chars), None)
            if found is not None:
                return self._to(found)
            return self._to("after")._next(c) if self.state in _WHOLE else None
        if self.state in ("string", "escape", "hex"):
            return self._in_string(c)
        if self.state == "literal":
            return self._to("literal" if self.left[1:] else "after", left=self.left[1:]) if c == self.left[0] else None
        if c in _SPACE:
            return None if self.state in ("start", "end") else self
        return self._structure(c)

    def _structure(self, c: str) -> JsonPrefix | None:
        """After a character that is not white space, outside of strings, numbers and literals."""
        state = self.state
        if state == "start":
            return self._to("first key", open="{") if c == "{" else None
        if state in ("first key", "key") and c == '"':
            return self._to("string", is_key=True)
        if state == "colon":
            return self._to("value") if c == ":" else None
        if state in ("value", "first value"):
            value = self._value(c)
            if value is not None:
                return value
        if state == "after" and c == ",":
            return self._to("key" if self.open[-1] == "{" else "value")
        if state in ("first key", "first value", "after") and self.open and c == _CLOSING[self.open[-1]]:
            return self._to("after" if self.open[1:] else "end", open=self.open[:-1])
        return None

    def _value(self, c: str) -> JsonPrefix | None:
        """After the first character of a value."""
        if c == '"':
            return self._to("string", is_key=False)
        if c in _CLOSING:
            return self._to("first key" if c == "{" else "first value", open=self.open + c)
        if c in _LITERALS:
            return self._to("literal", left=_LITERALS[c])
        if c == "-":
            return self._to("minus")
        return self._to("zero" if c == "0" else "int") if c in _DIGITS else None

    def _in_string(self, c: str) -> JsonPrefix | None:
        if self.state == "escape":
            if c == "u":
                return self._to("hex", left="0000")
            return self._to("string") if c in _ESCAPES else None
        if self.state == "hex":
            left = self.left[1:]
            return self._to("hex" if left else "string", left=left) if c in "0123456789abcdefABCDEF" else None
        if c == '"':
            return self._to("colon" if self.is_key else "after")
        if c == "\\":
            return self._to("escape")
        return self if c >= " " else None
