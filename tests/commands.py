"""The commands in the fenced blocks of a Markdown page, and what the program does not understand of them."""

from __future__ import annotations

import re
import shlex
from typing import Any

from absl.testing import flagsaver

from mmssr_jax import main


def blocks(text: str) -> list[str]:
    """The fenced blocks of shell commands."""
    return re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every command in a fenced block, split at `&&`; continuations joined, comments dropped."""
    found = []
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append(words[:end])
                words = words[end + 1 :]
    return found


def program_commands(text: str) -> list[list[str]]:
    """The arguments of every call of the program: `python -m mmssr_jax.main ...` and `mmssr run ...`."""
    found = []
    for words in commands(text):
        if "mmssr_jax.main" in words:
            found.append(words[words.index("mmssr_jax.main") + 1 :])
        elif words[0].endswith("mmssr"):
            assert words[1] == "run"
            found.append([f"--config={words[2]}", *words[3:]])
    return found


def parsed(*arguments: str) -> dict[str, Any]:
    """The config that the program would run with; a mistake in the flags is an error."""
    with flagsaver.flagsaver():
        return main.parse(["main", *arguments])


def not_understood(arguments: list[str]) -> list[str]:
    """The arguments and stages of a command that the program does not know; a mistake in a value is an error."""
    unknown = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not (name.startswith("config") or name in main.flags.FLAGS):
            unknown.append(argument)
        elif not name.startswith("config"):
            main.flags.FLAGS[name].parser.parse(value if equals else "true")
    config = parsed(*(a for a in arguments if a.startswith("--config")))
    stages = [s for a in arguments if a.startswith("--stages=") for s in a.removeprefix("--stages=").split(",")]
    return unknown + [f"stage {s}" for s in stages or config["stages"] if s not in main.STAGES]
