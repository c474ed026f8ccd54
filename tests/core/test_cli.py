"""What goes to a terminal or a log holds no line of somebody else's making."""

from __future__ import annotations

import errno
import logging
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssr_jax.core.cli import PrintableMessages, joined, printable, thread_failed, unraisable, with_config_flag
from mmssr_jax.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nerror: all is lost", "a\\nerror: all is lost"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("naïve 猫 🙂", "naïve 猫 🙂"),
        ("\u202eevil", "\\u202eevil"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_control_characters_are_escaped(text, line):
    assert printable(text) == line


def test_a_long_text_is_cut_and_says_so():
    assert printable("x" * 1_000_000, limit=5) == "xxxxx … (1000000 characters)"


@given(st.text(st.characters(), max_size=200))
def test_it_is_one_line_that_can_be_encoded(text):
    line = printable(text)
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")


def test_the_filter_escapes_what_an_argument_holds():
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "sample %s is cut", ("a\nb",), None)
    assert PrintableMessages().filter(record)
    assert record.getMessage() == "sample a\\nb is cut"


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']"), False),
        (UserError("wrong"), False),
        (ValueError("a bug"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_a_library_logs_no_traceback_of_a_users_mistake(error, kept):
    record = logging.LogRecord(
        "orbax", logging.ERROR, "future.py", 1, "failed: %s", (error,), (type(error), error, None)
    )
    assert PrintableMessages().filter(record)
    assert (record.exc_info is not None) == kept
    assert "Traceback" not in record.getMessage()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "f.py", "--dry_run"], ["--config=f.py", "--dry_run"]),
        (["-config=f.py"], ["--config=f.py"]),
        (["-config", "f.py"], ["--config=f.py"]),
        (["--config=f.py", "rest"], ["--config=f.py", "rest"]),
        (["--config", "--dry_run"], ["--config", "--dry_run"]),
    ],
)
def test_a_flag_and_its_value_are_one_argument(arguments, expected):
    assert joined(arguments, "--config") == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "tiny", "--dry_run"], ["--config=tiny", "--dry_run"]),
        (["run", "--config=tiny"], ["--config=tiny"]),
        (["--config=tiny"], ["--config=tiny"]),
        (["run"], []),
    ],
)
def test_run_takes_the_config(arguments, expected):
    assert with_config_flag(["mmssr", *arguments]) == ["mmssr", *expected]


@pytest.mark.parametrize(("error", "shown"), [(OSError(errno.ENOSPC, "full"), False), (ValueError("a bug"), True)])
def test_a_thread_prints_no_traceback_of_a_users_mistake(capsys, monkeypatch, error: Exception, shown: bool):
    def fail() -> None:
        raise error

    monkeypatch.setattr(threading, "excepthook", thread_failed)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert ("Traceback" in capsys.readouterr().err) is shown


@pytest.mark.parametrize(("message", "shown"), [("Event loop is closed", False), ("another fault", True)])
def test_what_follows_a_checkpoint_that_was_not_written_prints_no_traceback(monkeypatch, capsys, message, shown):
    class Ends:
        def __del__(self) -> None:
            raise RuntimeError(message)

    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    Ends()
    assert ("Traceback" in capsys.readouterr().err) is shown
