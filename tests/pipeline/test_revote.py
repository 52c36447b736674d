from dataclasses import replace

import pytest

from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.pipeline.revote import revote
from lmcot_cli.pipeline.vote import VoteBy
from lmcot_cli.scoring.answers import Answer
from lmcot_cli.scoring.options import ScoringOptions

QUICK = ScoringOptions(resamples=200)


def answer(row_id: str, samples: str, *, gold: str = "a", logprobs: tuple[float, ...] = ()) -> Answer:
    """A row whose samples answered the letters of `samples`; a dot is no answer."""
    texts = tuple(None if letter == "." else letter for letter in samples)
    known = logprobs or (None,) * len(texts)
    return Answer(row_id, "?", texts[0], texts, (gold,), None, 1, logprobs=known)


def by_id(*answers: Answer) -> dict[str, Answer]:
    return {one.id: one for one in answers}


def test_each_rule_is_replayed_on_the_samples_in_their_order():
    stored = by_id(answer("1", "aaaaaaaa"), answer("2", "babababb", gold="a"))
    outcomes = {
        one.stop: one
        for one in revote(
            stored,
            None,
            ["none", "lossless", "beta:0.9", "window:2"],
            samples=None,
            vote="majority",
            options=QUICK,
        )
    }

    assert (outcomes["none"].samples, outcomes["none"].times_fewer) == (8, 1)
    # Row 1 is decided after 4 of 8; row 2 (b:a is 4:3 after seven, b was first) after 7.
    assert outcomes["lossless"].samples == (4 + 7) / 2
    assert outcomes["lossless"].other_winners == 0
    # 1 - 0.5^(n + 1) >= 0.9 at n = 3.
    assert outcomes["beta:0.9"].samples < outcomes["lossless"].samples
    assert outcomes["window:2"].samples == (2 + 8) / 2
    assert outcomes["none"].exact_match is not None
    assert outcomes["none"].exact_match.mean == 0.5


def test_a_rule_that_stops_on_the_wrong_answer_is_found_out():
    stored = by_id(answer("1", "bbaaaaaa"))
    (outcome,) = revote(stored, None, ["window:2"], samples=None, vote="majority", options=QUICK)

    assert (outcome.samples, outcome.other_winners) == (2, 1)
    assert outcome.difference is not None
    assert outcome.difference.mean == -1


def test_fewer_samples_than_are_stored_can_be_looked_at():
    stored = by_id(answer("1", "aabb"))
    (outcome,) = revote(stored, None, ["none"], samples=3, vote="majority", options=QUICK)

    assert outcome.samples == 3
    with pytest.raises(UsageError, match="rows have 4"):
        revote(stored, None, ["none"], samples=5, vote="majority", options=QUICK)


@pytest.mark.parametrize(("vote", "winner_is_right"), [("majority", False), ("logprob", True)])
def test_a_vote_by_logprob_weighs_the_answers(vote: VoteBy, winner_is_right: bool):
    stored = by_id(answer("1", "bba", logprobs=(-3.0, -3.0, -0.1)))
    (outcome,) = revote(stored, None, ["none"], samples=None, vote=vote, options=QUICK)

    assert outcome.exact_match is not None
    assert bool(outcome.exact_match.mean) is winner_is_right


def test_what_cannot_be_replayed_is_refused():
    with pytest.raises(InputError, match="from 2 to 3 samples: draw all of them with --stop none"):
        revote(by_id(answer("1", "aa"), answer("2", "aaa")), None, ["none"], samples=None, vote="majority",
               options=QUICK)  # fmt: skip
    with pytest.raises(InputError, match="'1' has a sample without a log-probability"):
        revote(by_id(answer("1", "aa")), None, ["none"], samples=None, vote="logprob", options=QUICK)
    with pytest.raises(InputError, match="no row was answered from samples"):
        unsampled = replace(answer("1", "a"), samples=(), logprobs=())
        revote(by_id(unsampled), None, ["none"], samples=None, vote="majority", options=QUICK)
    with pytest.raises(InputError, match="no row was answered"):
        revote({}, None, ["none"], samples=None, vote="majority", options=QUICK)
    with pytest.raises(UsageError, match="--stop sometimes"):
        revote(by_id(answer("1", "aa")), None, ["sometimes"], samples=None, vote="majority", options=QUICK)


def test_rows_without_gold_have_winners_but_no_score():
    stored = by_id(Answer("1", "?", "a", ("a", "a"), (), None, 1, logprobs=(None, None)))
    (outcome,) = revote(stored, None, ["lossless"], samples=None, vote="majority", options=QUICK)

    assert (outcome.exact_match, outcome.difference, outcome.samples) == (None, None, 1)
