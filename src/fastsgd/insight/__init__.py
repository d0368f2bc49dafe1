"""What the noise of stochastic gradients does to a model, measured on its own data.

:func:`gradient_noise` takes the gradient at a model's weights apart into drift and noise.
"""

from .gradients import GradientNoise, gradient_noise, two_batch_noise

__all__ = ["GradientNoise", "gradient_noise", "two_batch_noise"]
