"""What the noise of stochastic gradients does to a model, measured on its own data.

:func:`gradient_noise` takes the gradient at a model's weights apart into drift and noise;
:func:`batch_variance` draws batches and compares them with the laws; ``fit(..., diagnostics=True)``
measures the noise scale of each epoch. The displays draw it. :func:`stability_report` says why a
run diverges or stalls.
"""

from .displays import BatchVarianceDisplay, LossCurveDisplay, NoiseScaleDisplay
from .gradients import GradientNoise, gradient_noise, two_batch_noise
from .stability import Finding, StabilityReport, stability_report
from .variance import BatchVariance, batch_variance

__all__ = [
    "BatchVariance",
    "BatchVarianceDisplay",
    "Finding",
    "GradientNoise",
    "LossCurveDisplay",
    "NoiseScaleDisplay",
    "StabilityReport",
    "batch_variance",
    "gradient_noise",
    "stability_report",
    "two_batch_noise",
]
