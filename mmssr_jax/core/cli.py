"""The command line's mistakes, each as one line that a user can act on."""

from __future__ import annotations

import errno
import logging
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from mmssr_jax.core.errors import UserError


def workdir_path(given: str | None) -> Path:
    """The folder that --workdir names, absolute.

    Raises:
      UserError: it is not given or empty (an unset variable), an address, or cannot be a folder.
    """
    if given is None:
        raise UserError("no --workdir given: the folder for everything the run writes")
    if not given.strip():
        raise UserError("--workdir is empty (an unset variable?): give the folder for everything the run writes")
    if scheme := re.match(r"[a-z0-9+.-]+://", given, re.IGNORECASE):
        raise UserError(
            f"--workdir={given}: {scheme[0]} is not a folder; mount the bucket (for gs://, gcsfuse BUCKET FOLDER) and "
            "give the folder, or use launch/tpu_vm.py, which mounts it"
        )
    path = Path(given).absolute()
    existing = next((p for p in (path, *path.parents) if p.exists() or p.is_symlink()), path)
    if not existing.is_dir():
        what = "a link that leads nowhere" if existing.is_symlink() else "not a folder"
        raise UserError(f"--workdir={given}: {existing} is {what}")
    return path


def with_config_flag(argv: Sequence[str]) -> list[str]:
    """The program's arguments, with `run CONFIG` as `--config=CONFIG`."""
    program, *arguments = argv
    if arguments[:1] == ["run"]:
        del arguments[0]
        if arguments and not arguments[0].startswith("-"):
            arguments[0] = f"--config={arguments[0]}"
    return [program, *arguments]


def joined(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments with `flag VALUE` and `-flag=VALUE` as `flag=VALUE`."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] == flag and not argument.startswith("-"):
            found[-1] = f"{flag}={argument}"
        elif argument == flag[1:] or argument.startswith(f"{flag[1:]}="):
            found.append(f"-{argument}")
        else:
            found.append(argument)
    return found


def users_mistake(error: Exception) -> str | None:
    """One line for errors that a user can fix; None for bugs of this program."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(str(error).split())
    if (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ) or "No space left on device" in text:
        return f"the disk is full: {text[:300]}; free some space and run the same command again to resume"
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return f"not allowed: {text}"
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
        return f"not a usable path: {text}"
    return None


def one_line(error: BaseException) -> str:
    """The message without line breaks; a KeyError's, also of one in another error, as it was meant, not as its repr."""
    inner: object = error
    while isinstance(inner, (KeyError, AttributeError)) and inner.args:
        inner = inner.args[0]
    return " ".join(str(inner).split()) or type(error).__name__


def printable(text: str, *, limit: int = 4000) -> str:
    """Text that may hold data of others, as one line for a terminal or a log.

    Control characters, line breaks and unpaired surrogates are escaped, so that an id can neither forge a line nor send
    an escape code; what is longer than `limit` characters is cut, with its length.
    """
    if len(text) > limit:
        text = f"{text[:limit]} … ({len(text)} characters)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def thread_failed(args: threading.ExceptHookArgs) -> None:
    """A `threading.excepthook` without tracebacks of users' mistakes: on a full disk, the main thread says so."""
    if not isinstance(args.exc_value, Exception) or users_mistake(args.exc_value) is None:
        threading.__excepthook__(args)


def unraisable(args: sys.UnraisableHookArgs) -> None:
    """A `sys.unraisablehook` without the tracebacks that follow when a checkpoint cannot be written.

    tensorstore reports the end of each write to an event loop that orbax has closed at the first failure, and what that
    raises is printed through this hook, once a parameter; the failure itself reaches the main thread.
    """
    if not (isinstance(args.exc_value, RuntimeError) and str(args.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(args)


class PrintableMessages(logging.Filter):
    """A log filter that changes each message to its `printable` form; tracebacks stay, but of a user's mistakes.

    On a full disk, each thread of orbax would log its traceback before the one line that says so.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, Exception) and users_mistake(error) is not None:
            record.exc_info = record.exc_text = None
        record.msg, record.args = printable(record.getMessage()), None
        return True
