"""How far a model is from its minimum: the gradient's norm and a duality gap, of every lane.

With n_k the rows of positive weight, h the lane's ``intercept_gradient``, theta_i the dual variable
of row i and f* the conjugate of the loss in its score, f*(theta) = sup_z (theta z - f(z)),
Fenchel's duality gives for every theta

    P(w, b)  = (1/n_k) sum_i s_i f(x_i . w + b) + R(w) + h b   >=   min P   >=   D(theta)
    D(theta) = -(1/n_k) sum_i s_i f*(theta_i) - R*(-v),      v = (1/n_k) sum_i s_i theta_i x_i

An intercept that is learnt adds the constraint sum_i s_i theta_i = -n_k h; one that is fixed
adds b (sum_i s_i theta_i / n_k + h) to D. The gap P - D is an upper bound of P - min P, whatever
theta is; theta_i = f'(z_i) makes it vanish at the minimum. What remains to be chosen:

* The intercept: f' is taken at the b that minimises P for this w. A convex combination of the
  slopes at both sides of it meets the constraint exactly, and stays in the domain of f*, which is
  convex (``bracket``).
* R*: with an L2 term it is sum_j max(0, |v_j| - l1)^2 / (2 alpha). Under L1 alone theta is scaled
  towards 0 until all |v_j| <= l1, which is impossible if h is not 0; without any penalty
  there is no gap (``penalties``).
* Kinks: where z_i is at a kink of f, theta_i may be anything between the two slopes. D is improved
  over the rows nearest to a kink by accelerated projected gradients (``kinks``, ``ascent``).
* theta = 0 is tried as well. If h is 0 the gap therefore never exceeds P - inf f.

A smooth loss whose objective has the gradient g has a gap of |g|^2 / (2 alpha) under L2. Far from
the minimum this bound is too large by up to the condition number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..problem import Data, Lanes, Settings
from .coupled import certify_coupled
from .independent import certify_independent

__all__ = ["Certificate", "certificate"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Certificate:
    """Proof of how far a model is from the minimum of its objective.

    An estimator fitted with ``certificate=True`` has it as ``certificate_``.

    Attributes
    ----------
    gradient_norm : ndarray of shape (K,)
        Euclidean norm of the objective's gradient in the weights and, if it is learnt, the
        intercept of each of K lanes. With an L1 term, of the shortest subgradient of the penalty.
        At a kink of the loss the slope that training takes counts, so that the norm need not
        vanish at the minimum of a loss with kinks. Of the softmax: the part of the joint gradient
        that belongs to each lane.
    duality_gap : ndarray of shape (K,)
        Upper bound of ``objective`` minus its minimum, in units of the loss; negative only by
        rounding. NaN where no bound is known: without a penalty, with the loss "linear" or one of
        the user's own, or with a linear term of the intercept for which the objective has no
        minimum. Of the softmax: one gap of all lanes together, repeated in each.
    objective : ndarray of shape (K,)
        Mean loss of the rows plus penalty. Of the softmax: mean loss plus the penalties of all
        lanes, repeated in each.

    See Also
    --------
    certificate : Works it out.

    Examples
    --------
    >>> from fastsgd import SGDRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = SGDRegressor(alpha=0.1, certificate=True, tol=None, max_iter=200, random_state=0)
    >>> found = model.fit(X, y).certificate_
    >>> bool(0.0 <= found.duality_gap[0] < 0.01 * found.objective[0])
    True
    """

    gradient_norm: Float
    duality_gap: Float
    objective: Float


def certificate(
    data: Data, lanes: Lanes, settings: Settings, coef: ArrayLike, intercept: ArrayLike
) -> Certificate:
    """Gradient norm, duality gap and objective of every lane, summed in float64.

    It takes two passes over X for every group of lanes; for the softmax three, and one more for
    every Newton step that finds the best intercepts. Besides X it holds blocks of rows and a few
    arrays of n numbers.

    Parameters
    ----------
    data : Data
        n rows with d features, their targets and weights.
    lanes : Lanes
        K lanes: their penalties and which target each is trained on.
    settings : Settings
        Loss, and whether the intercept is learnt. Step rule, schedule and clipping do not matter.
    coef : array-like of shape (K, d)
        Weights at which the objective is examined.
    intercept : array-like of shape (K,)
        Intercepts at which it is examined. Without ``fit_intercept`` they are constants, and the
        minimum is over the weights alone.

    Returns
    -------
    Certificate
        Three arrays of shape (K,).

    Raises
    ------
    ValueError
        If ``coef`` or ``intercept`` has another shape, or data, lanes and settings do not belong
        together.

    References
    ----------
    .. [1] S. Shalev-Shwartz, T. Zhang. "Stochastic Dual Coordinate Ascent Methods for Regularized
       Loss Minimization", JMLR 14, 2013, for the gap of a linear model.
    .. [2] A. Beck, M. Teboulle. "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear
       Inverse Problems", SIAM J. Imaging Sciences 2, 2009, for the improvement at kinks.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsgd.certificate import certificate
    >>> from fastsgd.problem import Data, Lanes, Settings
    >>> data = Data(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]))
    >>> lanes, settings = Lanes(1, alpha=0.5, eta0=1.0), Settings(fit_intercept=False)
    >>> optimum = certificate(data, lanes, settings, [[2.5 / 3.0]], [0.0])
    >>> optimum.objective.round(4), abs(optimum.duality_gap).max() < 1e-15
    (array([0.2083]), np.True_)
    >>> certificate(data, lanes, settings, [[0.0]], [0.0]).duality_gap.round(2)
    array([1.25])
    """
    settings.check(data, lanes)
    W = np.array(coef, dtype=np.float64, ndmin=2)
    b = np.array(intercept, dtype=np.float64, ndmin=1)
    for name, array, shape in (("coef", W, (lanes.k, data.d)), ("intercept", b, (lanes.k,))):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    certify = certify_coupled if settings.terms.coupled else certify_independent
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # weights of any size
        return Certificate(*certify(data, lanes, settings, W, b))
