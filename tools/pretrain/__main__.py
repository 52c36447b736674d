"""Start a pretraining run; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lmcot_cli.errors import INTERRUPTED, LmcotError
from tools.pretrain import __doc__ as ABOUT
from tools.pretrain.run import RECIPES, PretrainOptions, run


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one of the models, and print the path of its GGUF file."""
    options = PretrainOptions(**vars(_parser().parse_args(arguments)))
    try:
        print(run(options, report=lambda line: print(line, file=sys.stderr)))
    except LmcotError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.pretrain", description=ABOUT)
    parser.add_argument(
        "role",
        choices=RECIPES,
        help="the large LM, or the base that the small one is distilled from (it has seen no rationale)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the weights, the GGUF files and the log"
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=43.0,
        help="budget in CPU time; the schedule follows it (default: 43)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the weights and the examples (default: 0)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that compute (default: 1)")
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not minutes >= 0.1:
        raise argparse.ArgumentTypeError("give 0.1 or more")
    return minutes


if __name__ == "__main__":
    main()
