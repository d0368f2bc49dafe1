"""Documentation that the estimators of networks share; see :mod:`.documentation`."""

from __future__ import annotations

import functools

from .documentation import ATTRIBUTES, CALL, PARAMETERS, documented

__all__ = ["documented_network"]

NETWORK_PARAMETERS = {
    **PARAMETERS,
    "hidden_layer_sizes": """int or array-like of int
        Units of each hidden layer; () is a linear model.""",
    "activation": """{"identity", "logistic", "tanh", "relu"}
        Function of the hidden layers: z, 1 / (1 + exp(-z)), tanh(z), max(0, z).""",
    "solver": """{"adam", "sgd"}
        How a step moves a parameter: by Adam [1]_, or by the gradient, with ``momentum``. There is
        no "lbfgs" here.""",
    "alpha": """float
        Strength of the L2 penalty alpha/2 |W|^2 of the weights; >= 0. As in scikit-learn it is
        divided by the weight of each batch. Intercepts are not penalised.""",
    "batch_size": """int or "auto"
        Rows of an update; "auto" is min(200, n_samples). Rows that are held out count among those
        of a batch.""",
    "learning_rate": """str, Schedule or callable
        With t the number of the update from 1 and e the epochs done, with their fraction:

        - "constant": learning_rate_init;
        - "invscaling": learning_rate_init / (rows + 1)^power_t, with the rows of all epochs before
          this one, as in scikit-learn; "constant" with ``solver="adam"``, as there;
        - "adaptive": learning_rate_init, divided by 5 where training would stop, while it is above
          1e-6; "constant" with ``solver="adam"``;
        - "step": learning_rate_init decay^floor(e / step_epochs); "exponential":
          learning_rate_init decay^e;
        - "linear", "polynomial" (of power 2), "cosine": from learning_rate_init to 0 at
          e = total_epochs;
        - "one_cycle": up to learning_rate_init at 30 % of total_epochs, then down;
        - a :class:`fastsgd.schedules.Schedule`, or any callable ``rate(t, e)``.""",
    "learning_rate_init": """float
        First learning rate, > 0.""",
    "power_t": """float
        Exponent of "invscaling", >= 0.""",
    "tol": """float or None
        Stop after more than ``n_iter_no_change`` epochs whose loss is above the best one minus
        ``tol`` (or whose validation score is below the best plus ``tol``). Of several outputs of a
        regression it is the mean of their losses. None trains exactly ``max_iter`` epochs.""",
    "random_state": """int, RandomState instance or None
        Seed of the first weights, which are scikit-learn's for the same number, of the order of
        rows and of the validation split. It is drawn once a run; ``partial_fit`` and
        ``fit(..., resume=True)`` go on with it.""",
    "n_jobs": """int or None
        Number of threads that share the work of each batch, at most; -1 for all processors. The
        model does not depend on it, to the bit. None is 1, or what ``joblib.parallel_config``
        says.""",
    "momentum": """float
        beta in [0, 1) with ``solver="sgd"``: v = beta v + g, w = w - eta v.""",
    "nesterovs_momentum": """bool
        Nesterov's form of it: w = w - eta (g + beta v).""",
    "early_stopping": """bool
        Hold out ``validation_fraction`` of the rows, in classification the same fraction of each
        class, watch the score on them and restore the best weights.""",
    "beta_1": """float
        Decay of Adam's mean of the gradients, in [0, 1).""",
    "beta_2": """float
        Decay of Adam's mean of their squares, in [0, 1).""",
    "epsilon": """float
        Added to the roots of these, > 0.""",
    "n_iter_no_change": """int or float
        Number of epochs without gain that training goes on for; ``inf`` for all.""",
    "warm_start": """bool
        ``fit`` starts from the weights that the model has, in a run of its own: count of updates,
        schedule, momentum, averages and ``history_`` begin anew. Use ``fit(..., resume=True)`` to
        continue a run exactly.""",
    "average": """bool, int or float
        Publish the mean of the weights over all updates (True), from that update on (an int), or
        over the last fraction of ``total_epochs`` (a float between 0 and 1).""",
    "sampling": """{"reshuffle", "once", "replacement", "sequential", "block"}
        A new permutation every epoch; one permutation; independent draws; storage order; or pools
        of blocks of neighbouring rows from all over the data, each shuffled (docs/sampling.md).""",
    "total_epochs": """float or None
        Length, in epochs, of "linear", "polynomial", "cosine", "one_cycle" and of tail averaging.
        None is ``max_iter`` of the first call.""",
    "scoring": """str, callable or None
        Scorer of the validation set, as scikit-learn takes them. None: ``score``.""",
    "standardize": """bool
        Train on (x - mean) / standard deviation of each feature, computed in the step: dense X is
        read in place. Both are found at the first call from its training rows, by their weights;
        ``partial_fit`` and ``resume=True`` go on with them. First weights and penalty are of the
        standardised features; ``coefs_`` and ``intercepts_`` of X itself.""",
}
"""Type and description of each parameter of the constructors."""

NETWORK_ATTRIBUTES = {
    "coefs_": """list of ndarray of shape (inputs, outputs)
        Weights of the layers, of the dtype of X; float32 for float16 and uint8.""",
    "intercepts_": """list of ndarray of shape (outputs,)
        Intercepts of the layers.""",
    "n_layers_": """int
        Number of layers, those of the features and of the outputs included.""",
    "n_outputs_": """int
        Number of outputs.""",
    "out_activation_": """str
        Function of the outputs: "softmax", "logistic", "identity" or "exp".""",
    "loss_": """float
        Loss of the last epoch.""",
    "loss_curve_": """list of float
        Per epoch since the run began: mean over the batches of their objective before the step,
        with the penalty. Losses of several outputs are added up.""",
    "best_loss_": """float or None
        Smallest of them; None with a validation set.""",
    "validation_scores_": """list of float or None
        Per epoch the score of the validation set; None without.""",
    "best_validation_score_": """float or None
        Largest of them.""",
    "n_iter_": """int
        Epochs of the last call.""",
    "t_": """int
        Rows trained on since the run began, those of each epoch counted anew.""",
    "history_": """dict of str to list
        Per epoch since the run began: "epoch", "loss" (which is ``loss_curve_``), "losses",
        "validation_score", "learning_rate", "gradient_norm" (root mean square over a sample of the
        batches), "weight_norm" (without intercepts), "full_gradient_norm", "gradient_noise" and
        "noise_scale" (with ``diagnostics=True``), "seconds", "rows_per_second".""",
    "n_features_in_": ATTRIBUTES["n_features_in_"],
    "feature_names_in_": ATTRIBUTES["feature_names_in_"],
}
"""Type and description of each attribute that both estimators have."""

NETWORK_CALL = {
    **CALL,
    "resume": """bool, str or path-like
        Continue exactly where the last call ended, as ``partial_fit`` does: with its momentum,
        averages, counts, schedule and learning rates, for up to ``max_iter`` epochs more. Runs cut
        into such calls have the bits of a whole one. A path, of a checkpoint or of a folder of
        them, goes on with the fit that was saved there, on the same rows, until it has ``max_iter``
        epochs in all; with an empty folder, or none, the fit begins.""",
}
"""Type and description of the arguments of ``fit`` and ``partial_fit``."""

documented_network = functools.partial(
    documented, parameters=NETWORK_PARAMETERS, attributes=NETWORK_ATTRIBUTES, call=NETWORK_CALL
)
"""Complete the docstrings of an estimator of networks."""
