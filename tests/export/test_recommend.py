from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.errors import ModelError
from lmcot_cli.scoring.comparison import Difference
from lmcot_cli.scoring.intervals import Estimate
from lmcot_export.outcome import Output
from lmcot_export.recommend import recommend
from lmcot_export.verify.divergence import Divergence
from lmcot_export.verify.report import Check, Figures, Verification


def output(
    type: str, rate: float, kl: float, *, passed: bool = True, em: tuple[float, float, float] | None = None,
    source: float = 0.5, rows: int = 100,
) -> Output:  # fmt: skip
    match = None if em is None else Difference(source, source + em[0], Estimate(*em))
    figures = Figures(
        1_000_000, 8.0, rate, Divergence(2000, kl, 10 * kl, 0.99), None, rows=rows, exact_match=match
    )
    path = Path(f"tiny.{type}.gguf")
    found = Verification(Path("tiny"), path, type, (Check("logits", passed, ""),), figures)
    return Output(path, type, False, found)


def chosen(*outputs: Output) -> str:
    return recommend(outputs).output.type


def test_the_fastest_that_passed_is_chosen() -> None:
    assert chosen(output("f16", 100, 1e-6), output("q8_0", 290, 1e-4), output("q4_0", 440, 1e-2)) == "q4_0"
    slow = output("q4_0", 440, 1e-2, passed=False)
    assert chosen(output("f16", 100, 1e-6), output("q8_0", 290, 1e-4), slow) == "q8_0"


def test_of_equally_fast_ones_the_nearest_to_the_source_is_chosen() -> None:
    assert chosen(output("q4_k_m", 300, 1e-2), output("q8_0", 290, 1e-4)) == "q8_0"


def test_what_surely_loses_exact_match_is_left_out() -> None:
    loses = output("q4_0", 440, 1e-2, em=(-0.05, -0.09, -0.01))
    unsure = output("q4_0", 440, 1e-2, em=(-0.01, -0.04, 0.02))
    assert chosen(output("q8_0", 290, 1e-4), loses) == "q8_0"
    assert chosen(output("q8_0", 290, 1e-4), unsure) == "q4_0"


def test_the_reasons_give_the_figures() -> None:
    reasons = "\n".join(
        recommend([output("q8_0", 290, 1e-4), output("q4_0", 440, 1e-2, em=(-0.01, -0.04, 0.02))]).reasons
    )
    assert "440 tokens/s" in reasons
    assert "q8_0 290" in reasons
    assert "-1.0 points (-4.0 to +2.0) against the source on 100 rows" in reasons
    assert "warning" not in reasons


def test_exact_match_that_shows_nothing_is_warned_of() -> None:
    nothing = (0.0, 0.0, 0.0)
    few = "\n".join(recommend([output("q8_0", 290, 1e-4, em=nothing, rows=29)]).reasons)
    assert "warning: 29 rows are few" in few
    assert "no row right" not in few
    wrong = "\n".join(recommend([output("q8_0", 290, 1e-4, em=nothing, source=0.0)]).reasons)
    assert "warning: the source itself has no row right" in wrong
    assert "are few" not in wrong


def test_nothing_is_recommended_where_nothing_passed() -> None:
    with pytest.raises(ModelError, match="nothing to recommend"):
        recommend([output("q4_0", 440, 1.0, passed=False)])
