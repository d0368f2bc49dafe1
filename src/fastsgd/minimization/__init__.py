"""Stochastic gradient descent for a model of one's own, given by its gradient.

The objective is a mean over n rows, with an L2 penalty if one is asked for,

    L(theta) = (1/n) sum_i loss_i(theta)  +  1/2 sum_p alpha_p theta_p^2

A step takes the next rows B of the epoch's order, asks the user for the mean loss and its gradient
over them, and moves theta as :mod:`fastsgd.optimizers` says. What an epoch reports is the mean of
its rows' losses, each before its step, plus the penalty at its end.

A run is a :class:`State`, which every step leaves either as it was or after the step
(``vector_steps.py``). So it can be stopped anywhere, by Ctrl-C too, pickled and continued,
with the bits of a run that nobody stopped: the order of rows depends on seed and epoch alone.
"""

from __future__ import annotations

from .compiled_gradient import CompiledGradient
from .function import minimize
from .state import Progress, State

__all__ = ["CompiledGradient", "Progress", "State", "minimize"]
