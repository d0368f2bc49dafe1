"""What the noise of stochastic gradients does to a model, measured on its own data.

:func:`gradient_noise` takes the gradient at a model's weights apart into drift and noise;
:func:`batch_variance` draws batches and compares them with the laws; ``fit(..., diagnostics=True)``
measures the noise scale of each epoch; :func:`rate_range` tries sixteen constant rates;
:func:`stability_report` says why a run diverges or stalls. :func:`compare` and its kin are
experiments: what a parameter does to the course of training. The displays draw all of it, and
:func:`explore` makes a page on which runs of the solver are shown step by step.
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
from .gradients import GradientNoise, gradient_noise
from .history_displays import LossCurveDisplay, NoiseScaleDisplay
from .rates import RateRange, rate_range
from .result_displays import BatchVarianceDisplay, LearningRateDisplay, TrajectoryDisplay
from .runs import TrainingRun
from .stability import Finding, StabilityReport, stability_report
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
    "stability_report",
    "trajectory",
    "two_batch_noise",
]
