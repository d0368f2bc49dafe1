"""What a row is to a lane: its target, its weight, and the slope of its loss.

Shared by the twin and by all that evaluates a problem outside of training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .problem import Data, Lanes, Settings

__all__ = ["slopes_of", "targets_of", "weights_of"]

Float = NDArray[np.float64]
Rows = NDArray[np.int64] | slice


def targets_of(data: Data, lanes: Lanes, settings: Settings, rows: Rows) -> Float:
    """y_ik of the rows, shape (m, K): real targets, or -1 and +1 by the lane's label."""
    y = data.y[rows][:, lanes.target].astype(np.float64)
    return (
        np.where(y == lanes.label.astype(data.y.dtype), 1.0, -1.0) if settings.sign_targets else y
    )


def weights_of(data: Data, lanes: Lanes, settings: Settings, y: Float, rows: Rows) -> Float:
    """s_ik of the rows, shape (m, K): sample weight times, for sign targets, class weight.

    0 where the row is held out of the lane's split.
    """
    signs = settings.sign_targets
    if settings.terms.coupled:  # the weight of the row's class, in every lane
        s = np.repeat((lanes.weight_positive * (y > 0)).sum(axis=1, keepdims=True), lanes.k, 1)
        return s if data.sample_weight is None else s * data.sample_weight[rows, None]
    s = np.where(y > 0, lanes.weight_positive, lanes.weight_negative) if signs else np.ones_like(y)
    s = s if data.sample_weight is None else s * data.sample_weight[rows, None]
    return s if data.held_out is None else s * ((data.held_out[rows, None] & lanes.split) == 0)


def slopes_of(
    settings: Settings, z: Float, y: Float, s: Float, eta: Any = 1.0, squares: Any = 0.0
) -> Float:
    """c = s * dloss(z, y), shape (m, K); |x|^2 in ``squares`` (m, 1) matters to "pa1" and "pa2"."""
    c = settings.terms.slope(z, y, settings.loss_parameter)
    if settings.step != "gradient":
        rest = 0.0 if settings.step == "pa1" else 0.5
        loss = settings.terms.value(z, y, settings.loss_parameter)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = loss / (eta * squares + rest)
        part = np.minimum(1.0, part) if settings.step == "pa1" else part
        c = np.sign(c) * np.where(loss > 0.0, part, 0.0)
    return np.where(s > 0, s * c, 0.0)
