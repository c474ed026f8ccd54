"""The explorer's part of the page: its data, its script, and the policy that lets only this script run."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

ASSETS = Path(__file__).parents[2] / "assets" / "report"
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclasses.dataclass(frozen=True)
class Explorer:
    """The explorer of a page.

    Attributes:
      data: what `entries.explorer_data` returns.
      rule: which part of the pool it holds, in words.
    """

    data: dict[str, Any]
    rule: str

    @property
    def json(self) -> Markup:
        """The data as JSON in which no character can end the element or start a tag."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return Markup(text.translate(_ESCAPES))

    @property
    def script(self) -> Markup:
        """The script, which ships with the package."""
        return Markup((ASSETS / "explorer.js").read_text(encoding="utf-8"))

    @property
    def script_hash(self) -> str:
        """The script as a source of a Content-Security-Policy: a browser runs no other script of the page."""
        digest = hashlib.sha256(self.script.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
