import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.pipeline.vote import Ballot, Vote, count_votes, weight_of
from lmcot_cli.scoring.normalize import normalize_answer

answers = st.lists(
    st.none() | st.sampled_from(["Paris", "paris.", "The Paris", "Lyon", "lyon", "Nice", "The"])
)


def majority(answers: Sequence[str | None]) -> Vote:
    return count_votes([Ballot(answer) for answer in answers])


def test_spellings_of_one_answer_vote_together_and_the_earliest_is_shown():
    vote = majority(["Lyon", "the Paris", "Paris", "paris", "Paris"])

    assert vote.answer == "the Paris"
    assert vote.votes == {"the Paris": 4, "Lyon": 1}
    assert vote.agreement == 4 / 5


def test_a_tie_goes_to_the_earliest_sample():
    assert majority(["Lyon", "Paris", "Paris", "Lyon"]).answer == "Lyon"


def test_a_weighted_vote_adds_up_probabilities():
    ballots = [Ballot("Lyon", 0.25), Ballot("Nice", 0.75), Ballot("lyon", 0.25), Ballot(None, 0.75)]
    vote = count_votes(ballots)

    assert (vote.answer, vote.agreement) == ("Nice", 0.375)
    assert vote.votes == {"Nice": 0.75, "Lyon": 0.5}


def test_the_weight_of_an_answer_is_the_mean_probability_of_its_tokens():
    assert weight_of(math.log(0.25)) == pytest.approx(0.25)
    assert weight_of(1e-9) == 1.0


def test_a_sample_without_an_answer_does_not_vote_but_lowers_the_agreement():
    vote = majority([None, "Lyon", None, "Lyon"])

    assert (vote.answer, vote.votes, vote.agreement) == ("Lyon", {"Lyon": 2}, 0.5)


def test_no_answer_at_all():
    vote = majority([None, None])

    assert (vote.answer, vote.votes, vote.agreement) == (None, {}, 0.0)


@given(answers)
def test_the_winner_has_most_votes_and_every_answer_one(samples: Sequence[str | None]):
    vote = majority(samples)
    voters = [answer for answer in samples if answer is not None]

    assert sum(vote.votes.values()) == len(voters)
    assert len({normalize_answer(shown) for shown in vote.votes}) == len(vote.votes)
    assert list(vote.votes.values()) == sorted(vote.votes.values(), reverse=True)
    if vote.answer is None:
        assert not voters
    else:
        assert vote.answer in voters
        assert vote.votes[vote.answer] == vote.agreement * len(samples) == max(vote.votes.values())


@given(answers, st.randoms())
def test_without_a_tie_the_order_of_samples_does_not_choose_the_winner(samples: list[str | None], random):
    before = majority(samples)
    counts = list(before.votes.values())
    if len(counts) > 1 and counts[0] == counts[1]:
        return
    random.shuffle(samples)
    after = majority(samples)

    assert normalize_answer(after.answer or "") == normalize_answer(before.answer or "")
    assert after.agreement == before.agreement
