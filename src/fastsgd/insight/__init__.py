"""What the noise of stochastic gradients does to a model, measured on its own data.

:func:`gradient_noise` measures the gradient at the weights of a model and the covariance of its
noise, and suggests a batch size, :func:`row_gradient_noise` does so for a model of one's own;
:func:`batch_variance` draws batches and compares them with the
laws of their variance; ``fit(..., diagnostics=True)`` estimates the noise scale after each epoch.
:func:`rate_range` trains at many constant learning rates, :func:`stability_report` says why a run
diverges or stalls. :func:`compare` and the functions named after one parameter train an estimator
with different values and record the losses; :func:`trajectory` records two weights. Each result has
a display that draws it. :func:`explore` makes a page that shows runs of the solver step by step.
"""

from ..statistics.gradients import NoiseEstimate, two_batch_noise
from .comparisons import (
    compare_batch_sizes,
    compare_momentum,
    compare_sampling,
    compare_schedules,
    linear_scaling,
    noise_floor,
)
from .experiment_display import ExperimentDisplay
from .experiments import Experiment, compare
from .explorer import Exploration, RecordedRun, explore
from .findings import Finding
from .gradients import GradientNoise, gradient_noise
from .history_displays import LossCurveDisplay, NoiseScaleDisplay
from .rates import RateRange, rate_range
from .result_displays import BatchVarianceDisplay, LearningRateDisplay, TrajectoryDisplay
from .row_gradients import row_gradient_noise
from .runs import TrainingRun
from .sharpness import Sharpness, sharpness
from .stability import StabilityReport, stability_report
from .trajectory import Trajectory, trajectory
from .variance import BatchVariance, batch_variance

__all__ = [
    "BatchVariance",
    "BatchVarianceDisplay",
    "Experiment",
    "ExperimentDisplay",
    "Exploration",
    "Finding",
    "GradientNoise",
    "LearningRateDisplay",
    "LossCurveDisplay",
    "NoiseEstimate",
    "NoiseScaleDisplay",
    "RateRange",
    "RecordedRun",
    "Sharpness",
    "StabilityReport",
    "TrainingRun",
    "Trajectory",
    "TrajectoryDisplay",
    "batch_variance",
    "compare",
    "compare_batch_sizes",
    "compare_momentum",
    "compare_sampling",
    "compare_schedules",
    "explore",
    "gradient_noise",
    "linear_scaling",
    "noise_floor",
    "rate_range",
    "row_gradient_noise",
    "sharpness",
    "stability_report",
    "trajectory",
    "two_batch_noise",
]
