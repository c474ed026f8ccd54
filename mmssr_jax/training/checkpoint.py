"""Orbax checkpoints: parameters, optimizer state, counters and input position, saved together, restored bit for bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp

from mmssr_jax.core.artifact import how_to_remake
from mmssr_jax.core.errors import UserError
from mmssr_jax.models.module_params import Params
from mmssr_jax.parallel import hosts
from mmssr_jax.training.state import TrainState

_PARAMS = "params"


class Checkpoints:
    """The checkpoints `folder/<step>/` of one run; use as a context manager.

    Parameters are a separate item, so that inference never reads optimizer state.
    """

    def __init__(self, folder: Path, *, keep: int | None = 1, this_process_only: bool = False):
        """Opens a folder of checkpoints.

        Args:
          folder: made if it does not exist.
          keep: latest checkpoints to keep; None keeps all.
          this_process_only: read-only access from this process; otherwise all processes make every call together.
        """
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, step_prefix=None, cleanup_tmp_directories=True)
        if this_process_only and hosts.count() > 1:
            process = hosts.index()
            options = ocp.CheckpointManagerOptions(
                create=False, read_only=True, multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process_{process}"
                ),
            )  # fmt: skip
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def latest(self) -> int | None:
        """The last complete checkpoint; None without one."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Blocks until all saves are on disk."""
        self._manager.wait_until_finished()

    def save_params(self, step: int, params: Params) -> None:
        """Saves parameters without optimizer state: a model to start from, not a run to resume."""
        self._manager.save(step, args=ocp.args.Composite(params=ocp.args.StandardSave(params)))

    def save(self, step: int, state: TrainState, data: grain.DatasetIterator) -> None:
        """Saves in the background; the arrays are copied before this returns."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                optimizer=ocp.args.StandardSave(state.opt_state),
                data=grain.checkpoint.CheckpointSave(data),
                tally=ocp.args.JsonSave(dataclasses.asdict(state.counters.total())),
            ),
        )

    def restore(self, step: int, state: TrainState, data: grain.DatasetIterator) -> TrainState:
        """Restores a state with the shapes and shardings of `state`; `data` is set to its saved position.

        Raises:
          UserError: the saved parameters or optimizer state have another structure.
        """
        items = ocp.args.Composite(
            params=ocp.args.StandardRestore(jax.tree.map(_abstract, state.params)),
            optimizer=ocp.args.StandardRestore(jax.tree.map(_abstract, state.opt_state)),
            data=grain.checkpoint.CheckpointRestore(data),
            tally=ocp.args.JsonRestore(),
        )
        try:
            restored = self._manager.restore(step, args=items)
        except (ValueError, KeyError, OSError) as e:
            raise UserError(
                f"{self._manager.directory}/{step}: cannot be resumed, its model or optimizer state has a different "
                "structure (it was saved by another version or with other settings), or a file is damaged or missing; "
                "remove the folder to train from the start"
            ) from e
        return TrainState(restored["params"], restored["optimizer"], state.counters.restored(restored["tally"]))

    def restore_params(self, step: int, params: Params) -> Params:
        """Restores only the parameters, into the shapes and shardings of `params` (arrays or ShapeDtypeStructs)."""
        args = ocp.args.Composite(params=ocp.args.StandardRestore(jax.tree.map(_abstract, params)))
        return self._manager.restore(step, args=args)["params"]


def _abstract(leaf: Any) -> Any:
    """The restore target of a leaf: the numpy array itself, or the abstract form of a jax array."""
    if isinstance(leaf, np.ndarray):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def saved_steps(folder: Path) -> tuple[int, ...]:
    """The steps of a run whose parameters are kept, ascending; none for exported weights."""
    return tuple(sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and (p / _PARAMS).is_dir()))


def latest_params(folder: Path) -> Path | None:
    """The folder of the latest parameters of a run; None without a checkpoint."""
    steps = saved_steps(folder)
    return folder / str(steps[-1]) / _PARAMS if steps else None


def load_params(folder: Path, params: Params, *, step: int | None = None) -> Params:
    """Loads parameters of a run into arrays like those of `params` (see `Checkpoints.restore_params`).

    They are those of `step`, by default the latest. If the shardings span several processes, all of them must call this
    together; otherwise no other process takes part.

    Raises:
      UserError: the folder holds no checkpoint, or it cannot be read.
    """
    shared = any(
        not leaf.sharding.is_fully_addressable for leaf in jax.tree.leaves(params) if hasattr(leaf, "sharding")
    )
    with Checkpoints(folder, this_process_only=not shared) as checkpoints:
        step = checkpoints.latest() if step is None else step
        if step is None:
            raise UserError(f"{folder}: holds no checkpoint")
        try:
            return checkpoints.restore_params(step, params)
        except (ValueError, KeyError, OSError, TypeError) as e:  # orbax and tensorstore: files are missing or damaged
            reason = " ".join(str(e).split())[:200]
            raise UserError(f"{folder}/{step}: cannot be read ({reason}); {how_to_remake(folder)}") from e
