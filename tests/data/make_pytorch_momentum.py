"""Record trajectories of torch.optim.SGD for tests/test_theory.py in pytorch_momentum.json.

The tests read the recording, so they need no PyTorch. To make it again, with torch 2.13.0:

    python tests/data/make_pytorch_momentum.py

Each run starts at zero weights and visits the rows in storage order, ``batch_size`` at a time; the
last batch of an epoch is short. The weight has weight decay ``alpha``, the intercept has none.
"""

import json
from pathlib import Path

import numpy as np
import torch

N, D, BATCH_SIZE, EPOCHS = 10, 3, 3, 3
ETA, ALPHA = 0.1, 0.05
RULES = ((0.0, False), (0.5, False), (0.9, False), (0.99, False), (0.5, True), (0.9, True))
LOSSES = {
    "squared_error": lambda z, y: 0.5 * torch.nn.functional.mse_loss(z, y),
    "log_loss": torch.nn.functional.binary_cross_entropy_with_logits,
}


def trajectory(X, y, loss, momentum, nesterov):
    """The weights and, last, the intercept after every step; shape (steps, D + 1)."""
    w = torch.zeros(D, dtype=torch.float64, requires_grad=True)
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    groups = [{"params": [w], "weight_decay": ALPHA}, {"params": [b], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=ETA, momentum=momentum, dampening=0, nesterov=nesterov)
    steps = []
    for _ in range(EPOCHS):
        for rows in torch.arange(N).split(BATCH_SIZE):
            optimizer.zero_grad()
            LOSSES[loss](X[rows] @ w + b, y[rows]).backward()
            optimizer.step()
            steps.append([*w.tolist(), b.item()])
    return steps


def main():
    """Draw the data, run every case, write the file with a run a line."""
    rng = np.random.default_rng(20260)
    X = rng.normal(size=(N, D)).round(3)
    real = (X @ [1.0, -2.0, 0.5] + 0.3 + rng.normal(size=N)).round(3)
    y = {"squared_error": real, "log_loss": (real > np.median(real)).astype(float)}
    header = {
        "torch": torch.__version__.split("+")[0],
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "eta": ETA,
        "alpha": ALPHA,
        "X": X.tolist(),
        "y": {loss: values.tolist() for loss, values in y.items()},
    }
    runs = [
        {
            "loss": loss,
            "momentum": momentum,
            "nesterov": nesterov,
            "weights": trajectory(
                torch.from_numpy(X), torch.from_numpy(y[loss]), loss, momentum, nesterov
            ),
        }
        for loss in LOSSES
        for momentum, nesterov in RULES
    ]
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in header.items()]
    lines.append('"runs": [\n' + ",\n".join(json.dumps(run) for run in runs) + "\n]")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("pytorch_momentum.json").write_text(text)


if __name__ == "__main__":
    main()
