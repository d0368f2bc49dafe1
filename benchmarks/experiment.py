"""The command line of the experiments: scripts that measure, print, and draw a figure of docs/."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Effort:
    """How much an experiment does, and where its figure goes.

    Attributes
    ----------
    scale : float
        Rows, as a part of those of the whole experiment.
    seeds, rounds : int
        Runs behind a median loss, and behind a median time.
    figure : Path or None
    """

    scale: float
    seeds: int
    rounds: int
    figure: Path | None


def effort(
    what: str,
    name: str,
    whole: tuple[int, int],
    quick: tuple[int, int],
    arguments: list[str] | None,
) -> Effort:
    """The effort asked for; ``whole`` and ``quick`` are seeds and rounds, ``name`` the figure's."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, no figure")
    parser.add_argument("--seeds", type=int, help=f"runs behind a median ({whole[0]})")
    parser.add_argument("--rounds", type=int, help=f"timed rounds of a median ({whole[1]})")
    parser.add_argument("--figure", type=Path, help=f"docs/{name}.png")
    options = parser.parse_args(arguments)
    seeds, rounds = quick if options.quick else whole
    figure = options.figure
    if figure is None and not options.quick:
        figure = Path(__file__).parents[1] / "docs" / f"{name}.png"
    return Effort(
        0.1 if options.quick else 1.0, options.seeds or seeds, options.rounds or rounds, figure
    )
