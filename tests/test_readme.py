"""The README's commands are ones that run, and what it points at is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from absl.testing import flagsaver

from mmssr_jax import main

REPO = Path(__file__).resolve().parents[1]
TEXT = (REPO / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every command in a fenced block, split at `&&`; continuations joined, comments dropped."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append(words[:end])
                words = words[end + 1 :]
    return found


def parsed(*arguments: str) -> dict[str, Any]:
    """The config that the program would run with; a mistake in the flags is an error."""
    with flagsaver.flagsaver():
        return main.parse(["main", *arguments])


PROGRAM = [c[c.index("mmssr_jax.main") + 1 :] for c in commands() if "mmssr_jax.main" in c]


def test_it_has_the_two_commands_of_a_new_user():
    first, second = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[:2]
    assert "pip install -e . " in first
    assert "--config=configs/tiny.py" in first
    assert "pip install -e '.[test]'" in second
    assert second.strip().endswith("-m pytest -n auto")
    assert TEXT.index("<!-- test command -->") < TEXT.index(second)


@pytest.mark.parametrize("arguments", PROGRAM, ids=" ".join)
def test_the_program_understands_its_commands(arguments, monkeypatch):
    monkeypatch.chdir(REPO)
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        assert argument.startswith("--")
        if not name.startswith("config"):
            assert name in main.flags.FLAGS, f"there is no flag --{name}"
            main.flags.FLAGS[name].parser.parse(value if equals else "true")
    config = parsed(*(a for a in arguments if a.startswith("--config")))
    stages = [s for a in arguments if a.startswith("--stages=") for s in a.removeprefix("--stages=").split(",")]
    assert set(stages or config["stages"]) <= set(main.STAGES)


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"`--config\.([a-z_.]+)(?:=|`)", TEXT)) - {"a.b"}))
def test_the_settings_it_names_are_in_the_config_of_one_s_own_pool(flag):
    parsed(f"--config={REPO}/configs/llava.py", f"--config.{flag}=none")


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:mmssr_jax|configs|tests|launch|notebooks|benchmarks)/[\w./-]*)`", TEXT)))
)
def test_what_it_points_at_is_there(path):
    assert (REPO / path).exists()
