"""Poisson regression with a ridge penalty, for ratings that are 0 or more and whose effects multiply."""

from __future__ import annotations

import numpy as np

_LOG_RANGE = (-8.0, 3.0)  # of the predictions, against overflow
_STEPS, _LARGEST_STEP, _TOLERANCE = 100, 2.0, 1e-9  # of Newton's method
_INTERCEPT_PENALTY = 1e-6  # relative to the ridge penalty's unit; keeps the fit to ratings that are all 0 finite


def poisson_ridge(
    x: np.ndarray, y: np.ndarray, penalty: np.ndarray | float, *, centre: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Poisson regression with a ridge penalty, by Newton's method, a column of y at a time.

    It minimises sum (mu - y log mu) + penalty (w - centre)^2 / 2 with log mu = x w + b.

    Args:
      x: [m, F].
      y: [m, C], 0 and more.
      penalty: of the weights, one or [F]; the intercept has hardly any.
      centre: [F, C], what the weights are drawn to.

    Returns:
      weights [F, C] and intercept [C].
    """
    columns = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    ridge = np.append(np.broadcast_to(penalty, x.shape[1]), _INTERCEPT_PENALTY * len(x))
    centres = np.broadcast_to(centre, (x.shape[1], y.shape[1]))
    solution = np.zeros((columns.shape[1], y.shape[1]))
    for c, target in enumerate(y.T):
        w, towards = solution[:, c], np.append(centres[:, c], 0.0)
        w[:-1] = centres[:, c]
        w[-1] = np.log(target.mean() + 1e-3)
        for _ in range(_STEPS):
            mean = np.exp(np.clip(columns @ w, *_LOG_RANGE))
            curvature = (columns * mean[:, None]).T @ columns + np.diag(ridge)
            step = np.linalg.solve(curvature, columns.T @ (target - mean) - ridge * (w - towards))
            largest = np.abs(step).max()
            w += step * min(1.0, _LARGEST_STEP / max(largest, 1e-300))
            if largest < _TOLERANCE:
                break
    return solution[:-1], solution[-1]


def predicted(x: np.ndarray, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """exp (x w + b), float64 [n, C]; x is [n, F], weights [F, C], intercept [C]."""
    return np.exp(np.clip(x @ weights + intercept, *_LOG_RANGE))
