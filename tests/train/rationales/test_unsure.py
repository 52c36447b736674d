from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rationales.filters import FILTERS, Candidate, FilterOptions, reason_against

ROW = Row(
    "1", "Where was Ann born?", (Paragraph("Ann", ("Ann was born in Rome.",)),), ("Rome",), None, None, 1
)


def _reason(logprob: float | None, least: float | None) -> str | None:
    candidate = Candidate(ROW, "Ann was born in Rome.", "Rome", logprob=logprob)
    return reason_against(candidate, FilterOptions(min_logprob=least))


def test_a_rationale_that_the_large_lm_was_unsure_of_is_left_out_where_that_is_asked() -> None:
    assert _reason(-0.2, -0.1) == "unsure"
    assert "unsure" in FILTERS
    assert _reason(-0.1, -0.1) is None
    assert _reason(-0.2, None) is None


def test_where_no_log_probability_is_known_nothing_is_unsure() -> None:
    assert _reason(None, -0.1) is None
