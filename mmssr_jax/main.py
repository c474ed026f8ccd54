"""The program: runs the stages a config names, in order.

mmssr run tiny --workdir=/tmp/tiny                                        a shipped config by its name, or a file
python -m mmssr_jax.main --config=configs/tiny.py --workdir=/tmp/tiny     the same
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging as py_logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from mmssr_jax.core import cli, files, overrides
from mmssr_jax.core import config as config_lib
from mmssr_jax.core.errors import UserError
from mmssr_jax.core.memory import peak_mib
from mmssr_jax.core.progress import duration
from mmssr_jax.core.stage import StageContext
from mmssr_jax.core.workdir import Workdir
from mmssr_jax.stages.sections import SECTIONS, section_type

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file with get_config(), or the name of a shipped one.", sys_argv=[""]
)  # without argv: the overrides are read by `core.overrides`
_WORKDIR = flags.DEFINE_string("workdir", None, "Where every stage reads and writes.")
_STAGES = flags.DEFINE_list("stages", None, "Run these stages instead of those the config names.")
_OVERWRITE = flags.DEFINE_list("overwrite", [], "Stages whose outputs may be replaced if settings or inputs changed.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only inspect: say what each stage would do, write nothing.")
_PRINT_CONFIG = flags.DEFINE_bool("print_config", False, "Print the resolved config as JSON and stop.")
_PROFILE = flags.DEFINE_string("profile", None, "Write a jax profiler trace of the run to this folder.")

Stage = Callable[[StageContext], None]

_PACKAGE = Path(__file__).resolve().parent


STAGES = (
    "ingest", "convert", "pretrain", "captions", "judge", "train_scorer", "score", "select", "train", "evaluate",
    "report", "export", "serve",
)  # fmt: skip

# Stages that one process of a group runs for all; the others wait. The other stages share their work.
_ON_MAIN = frozenset({"ingest", "judge", "select", "report", "export"})
_REPEATED_S = 1.0  # more than a finished stage takes to find out that it is


def load_stage(name: str) -> Stage:
    """The function of a stage; only its own modules are imported, so that a report needs no model code.

    Raises:
      UserError: there is no such stage.
    """
    if name not in STAGES:
        raise UserError(f"there is no stage {name!r}; known are {', '.join(STAGES)}")
    module = f"mmssr_jax.stages.{name}"
    if (_PACKAGE / "stages" / name).is_dir():  # a stage with helpers is a folder
        module += ".stage"
    return importlib.import_module(module).run


def run_stages(context: StageContext, names: Sequence[str]) -> None:
    """Runs stages in the order given, and says at the end what each took.

    Raises:
      UserError: a stage does not exist, its section of the config has a mistake, or it refuses.
    """
    from mmssr_jax.parallel import hosts, processes

    stages = {name: load_stage(name) for name in [*names, *context.overwrite]}
    for name in names:  # now, and not after the hours that the stages before it take
        if name in SECTIONS and name in context.config:
            context.section(name, section_type(name))
    took = []
    for name in names:
        logging.info("=== %s", name)
        begin = time.monotonic()
        if context.dry_run:
            with context.until_missing(name):
                stages[name](context)
            context = dataclasses.replace(context, earlier=(*context.earlier, name))
        elif name in _ON_MAIN:
            processes.run_on_main(functools.partial(stages[name], context))
        else:
            stages[name](context)
        took.append((name, time.monotonic() - begin, int(peak_mib())))
        if hosts.is_main() and not context.dry_run:
            _record_stage(context.workdir, *took[-1])
    for name, seconds, peak in took:
        logging.info("%-14s %10s  peak memory so far %5d MiB", name, duration(seconds), peak)


def _record_stage(workdir: Workdir, stage: str, seconds: float, peak_mib: int) -> None:
    """Keeps the longest run of a stage, longer by a second: a repeated run of a finished stage takes less than that."""
    path = workdir.metrics("stages")
    rows = {r["stage"]: r for r in (files.read_jsonl(path) if path.exists() else [])}
    row = {"stage": stage, "seconds": round(seconds, 2), "peak_mib": peak_mib, "time": round(time.time(), 3)}
    if stage not in rows or rows[stage]["seconds"] + _REPEATED_S <= row["seconds"]:
        rows[stage] = row
    files.write_jsonl(path, list(rows.values()))


def _only_ours(record: Any) -> bool:
    """Log filter: libraries are heard from warnings on; this program always."""
    return record.levelno >= py_logging.WARNING or Path(record.pathname).is_relative_to(_PACKAGE)


def _start(context: StageContext) -> None:
    """Joins the other hosts, switches the compilation cache on, keeps the resolved config."""
    import jax

    from mmssr_jax.parallel import hosts

    if not context.dry_run:
        hosts.start()
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "mmssr_jax" / "compiled"))
    logging.info("process %d of %d, devices: %s", hosts.index(), hosts.count(), jax.devices())
    if hosts.count() == 1 and not context.dry_run:
        files.remove_leftovers(context.workdir.root)
    if hosts.is_main() and not context.dry_run:
        files.write_json(context.workdir.config, config_lib.to_plain(context.config))


def _run(config: dict[str, Any]) -> None:
    for name in config:
        if name not in SECTIONS:
            raise UserError(f"config.{name}: there is no such section; {config_lib.suggestion(name, sorted(SECTIONS))}")
    plain = config_lib.to_plain(config)
    config_lib.check_json(plain, "config")
    if _PRINT_CONFIG.value:
        print(files.dump_json(plain), end="")
        return
    context = StageContext(
        config=config,
        workdir=Workdir(cli.workdir_path(_WORKDIR.value)),
        overwrite=frozenset(_OVERWRITE.value),
        dry_run=_DRY_RUN.value,
    )
    named = config.get("stages", ())
    if not isinstance(named, (tuple, list)):
        raise UserError(f"config.stages: expected a tuple of names, got {named!r}")
    stages = _STAGES.value or list(named)
    if not stages:
        raise UserError("no stages to run: the config names none (config.stages) and --stages is not given")
    _start(context)
    if _PROFILE.value:
        import jax

        with jax.profiler.trace(_PROFILE.value):
            run_stages(context, stages)
    else:
        run_stages(context, stages)
    if context.dry_run and "plan" in config:
        importlib.import_module("mmssr_jax.stages.planner").log_plan(context, stages)


def _shipped_configs() -> dict[str, Path]:
    """The configs that are installed beside the package, or in a source tree, by name."""
    folders = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
    return {p.stem: p for folder in folders for p in sorted(folder.glob("[a-z]*.py"))}


def _config_file(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The config's file, and the arguments with its full path.

    `configs/NAME.py` and `NAME` are those that were installed, unless there is such a file.

    Raises:
      UserError: there is no such file.
    """
    arguments = cli.joined(arguments, "--config")
    given = [a for a in arguments if a.startswith("--config=")]
    if not given:
        return "", arguments
    named, colon, arg = given[-1].partition("=")[2].partition(":")
    shipped, name = _shipped_configs(), Path(named).name.removesuffix(".py")
    path = (
        str(shipped.get(name, named)) if named in (name, f"configs/{name}.py") and not Path(named).exists() else named
    )
    if path and not Path(path).is_file():
        what = "a folder, not a file" if Path(path).is_dir() else "no such file"
        raise UserError(f"--config={named}: {what}; shipped are {', '.join(shipped)}")
    return path, [f"--config={path}{colon}{arg}" if a == given[-1] else a for a in arguments]


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """Parses the flags; returns the config that they name, as nested dicts, with its overrides.

    Raises:
      UserError: there is a mistake in the flags, in the config file or in the overrides.
    """
    arguments, given = overrides.split_arguments(argv[1:])
    path, arguments = _config_file(arguments)
    try:
        rest = flags.FLAGS([argv[0], *arguments])
    except flags.Error as e:
        text = str(e)
        if "Traceback (most recent call last)" in text:  # of a ValueError of the config's own, which ends it
            text = f"--config={path}: {text.rstrip().splitlines()[-1].partition(': ')[2]}"
        raise UserError(" ".join(text.split())) from None
    except SyntaxError as e:
        raise UserError(f"--config: {e.msg} ({e.filename}, line {e.lineno})") from None
    except Exception as e:  # the file is the user's own code
        raise UserError(f"--config={path}: {cli.one_line(e)}") from None
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}; settings are given as --config.NAME=VALUE")
    if _CONFIG.value is None:
        raise UserError("no --config given, e.g. --config=configs/tiny.py")
    if not hasattr(_CONFIG.value, "items"):
        raise UserError(f"--config={path}: get_config() must return a ConfigDict, not {type(_CONFIG.value).__name__}")
    config = overrides.plain_config(_CONFIG.value)
    overrides.apply_overrides(config, given, section_type, SECTIONS)
    return config


def main(argv: Sequence[str]) -> int:
    """Parses the flags, runs, and turns a user's mistake into one line.

    Returns:
      The exit status: 0, or 2 for a mistake that the user can fix.
    """
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_handler().addFilter(_only_ours)
    logging.get_absl_handler().addFilter(cli.PrintableMessages())
    threading.excepthook = cli.thread_failed
    sys.unraisablehook = cli.unraisable
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it would report that torch is not installed
    if any(a in ("--help", "-h", "--helpfull") for a in argv[1:]):
        print(__doc__, flags.FLAGS.module_help(sys.modules[__name__]), sep="\n")
        return 0
    try:
        _run(parse(argv))
    except KeyboardInterrupt as e:
        print(f"{str(e) or 'interrupted'}; the same command resumes", file=sys.stderr)
        return 130
    except Exception as e:
        line = cli.users_mistake(e)
        if line is None:
            raise
        print(f"error: {cli.printable(line)}", file=sys.stderr)
        return 2
    return 0


def _use_huge_pages() -> None:
    """Restarts the program with settings of glibc's allocator, which reads them only at its start.

    XLA on the CPU takes its buffers from the allocator in every step, and by default each is mapped and faulted in
    page by page: a quarter of a training step.
    """
    wanted = {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    }
    if sys.platform == "linux" and not any(name in os.environ for name in wanted):
        os.environ.update(wanted)
        os.execv(sys.executable, sys.orig_argv)


def command() -> None:
    """The console command: `mmssr run CONFIG [flags]`, or the flags alone."""
    _use_huge_pages()
    sys.exit(main(cli.with_config_flag(sys.argv)))


if __name__ == "__main__":
    command()
