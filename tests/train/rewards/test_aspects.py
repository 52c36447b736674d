"""Each aspect: what raises it, what lowers it, and its bounds, on one small world worked by hand."""

from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rewards.aspects import (
    ASPECTS,
    coherence,
    consistency,
    factuality,
    fluency,
    logicality,
    naturalness,
    readability,
    relevance,
    score_aspects,
    weighted_mean,
)
from lmcot_train.rewards.chain import Chain, read_chain

ROW = Row(
    id="1",
    question="In which country was the director of Silent River born?",
    context=(
        Paragraph("Silent River", ("Silent River was directed by Ann Moore.", "It was released in 1990.")),
        Paragraph("Ann Moore", ("Ann Moore was born in Oslo.", "She married Al Stone.")),
        Paragraph("Oslo", ("Oslo lies in Norway.",)),
        Paragraph("Al Stone", ("Al Stone was born in Rome.",)),
    ),
    answers=("Norway",),
    type=None,
    rationale=None,
    line=1,
)
GOOD = "Silent River was directed by Ann Moore. Ann Moore was born in Oslo. Oslo lies in Norway."


def read(text: str, answer: str | None = "Norway", logprob: float | None = None) -> Chain:
    return read_chain(ROW, text, answer, logprob)


def test_the_good_rationale_is_good_in_every_respect() -> None:
    scores = score_aspects(read(GOOD, logprob=log(0.9)))
    assert list(scores) == list(ASPECTS)
    for name in ("factuality", "relevance", "logicality", "consistency", "coherence", "naturalness"):
        assert scores[name] == 1.0, name
    assert scores["fluency"] == pytest.approx(0.9)


class TestFactuality:
    def test_a_name_from_nowhere_lowers_it(self) -> None:
        # Content words ann, moore, born, paris: 3 of 4 anywhere, 3 of 4 in the best sentence.
        assert factuality(read("Ann Moore was born in Paris.")) == pytest.approx(0.75)

    def test_a_true_value_given_to_the_wrong_name_lowers_it(self) -> None:
        # ann, moore, born, rome all occur, but no sentence holds more than 3 of the 4: (4 + 3) / 8.
        assert factuality(read("Ann Moore was born in Rome.")) == pytest.approx(7 / 8)
        assert factuality(read("Ann Moore was born in Oslo.")) == 1.0

    def test_a_wrong_number_lowers_it(self) -> None:
        # silent, river, released stand in one sentence with its title; 1991 stands nowhere: (3 + 3) / 8.
        assert factuality(read("Silent River was released in 1991.")) == pytest.approx(6 / 8)

    def test_nothing_stated_is_nothing_borne_out(self) -> None:
        assert factuality(read("")) == 0.0
        assert factuality(read("It was so.")) == 0.0


class TestRelevance:
    def test_statements_that_nothing_connects_to_the_question_lower_it(self) -> None:
        # The question's one entity is named (1); 1 of 2 statements is connected (1/2).
        assert relevance(read("Silent River was directed by Ann Moore. Rome is old.")) == pytest.approx(0.75)

    def test_not_naming_what_was_asked_about_lowers_it(self) -> None:
        assert relevance(read("Ann Moore was born in Oslo.")) == 0.0
        assert relevance(read(GOOD)) == 1.0

    def test_a_question_without_names_goes_by_its_content_words(self) -> None:
        row = Row("1", "who wrote it first?", (), (), None, None, 1)
        # Content words: wrote, first. One is mentioned, and the one statement shares it: (1/2 + 1) / 2.
        assert relevance(read_chain(row, "she wrote a book")) == pytest.approx(0.75)


class TestLogicality:
    def test_a_jump_lowers_it(self) -> None:
        # "Oslo lies" shares nothing with the question or the statement before: 2 of 3 statements are linked, and the
        # last one names the answer: 3 of 4 steps.
        text = "Silent River was directed by Ann Moore. Oslo lies in Norway. Norway is cold."
        assert logicality(read(text)) == pytest.approx(3 / 4)

    def test_not_arriving_at_the_answer_lowers_it(self) -> None:
        text = "Silent River was directed by Ann Moore. Ann Moore was born in Oslo."
        assert logicality(read(text)) == pytest.approx(2 / 3)
        assert logicality(read(text, answer=None)) == 1.0

    def test_yes_needs_not_be_said(self) -> None:
        assert logicality(read("Silent River was directed by Ann Moore.", answer="yes")) == 1.0


class TestConsistency:
    def test_two_places_of_birth_contradict(self) -> None:
        # 2 of 3 statements contradict each other (1/3 left), and the answer occurs (1).
        text = "Ann Moore was born in Oslo. Ann Moore was born in Rome. Oslo lies in Norway."
        assert consistency(read(text)) == pytest.approx((1 / 3 + 1) / 2)

    def test_two_films_do_not(self) -> None:
        assert consistency(read("Ann Moore starred in Dawn. Ann Moore starred in Dusk.", answer=None)) == 1.0

    def test_a_negation_contradicts(self) -> None:
        assert consistency(read("Oslo is in Norway. Oslo is not in Norway.", answer=None)) == 0.0

    def test_two_years_contradict(self) -> None:
        text = "Silent River came out in 1990. Silent River came out in 1991."
        assert consistency(read(text, answer=None)) == 0.0

    def test_an_answer_that_it_never_names_lowers_it(self) -> None:
        assert consistency(read(GOOD, answer="Italy")) == pytest.approx(0.5)

    def test_saying_the_same_twice_is_no_contradiction(self) -> None:
        assert consistency(read("Oslo lies in Norway. Oslo lies in Norway.")) == 1.0


class TestCoherence:
    def test_the_order_matters(self) -> None:
        # Third statement: nearest earlier one that shares Ann Moore is two back (1/2); second: none (0).
        text = "Silent River was directed by Ann Moore. Oslo lies in Norway. Ann Moore was born there."
        assert coherence(read(text)) == pytest.approx((0 + 1 / 2) / 2)
        assert coherence(read(GOOD)) == 1.0

    def test_one_statement_is_coherent_and_none_is_not(self) -> None:
        assert coherence(read("Oslo lies in Norway.")) == 1.0
        assert coherence(read("")) == 0.0

    def test_a_first_name_in_common_is_no_link(self) -> None:
        assert coherence(read("Ann Moore sings. Ann Stone dances.")) == 0.0
        assert coherence(read("Ann Moore sings. Moore dances.")) == 1.0


class TestFluency:
    def test_it_is_the_mean_probability_of_a_token(self) -> None:
        assert fluency(read(GOOD, logprob=log(0.5))) == pytest.approx(0.5)
        assert fluency(read(GOOD, logprob=-8.0)) == pytest.approx(exp(-8))

    def test_it_is_left_out_where_it_is_not_known(self) -> None:
        assert "fluency" not in score_aspects(read(GOOD))
        with pytest.raises(ValueError, match="reference LM"):
            fluency(read(GOOD))


class TestNaturalness:
    def test_repetition_lowers_it(self) -> None:
        # "a b" x 6: 12 words, 10 trigrams, of which aba and bab are distinct.
        assert naturalness(read("oslo rome " * 6)) == pytest.approx(2 / 10)

    def test_three_words_are_half_as_many_as_is_plain(self) -> None:
        assert naturalness(read("Oslo is old.")) == pytest.approx(3 / 6)

    def test_length_beyond_what_is_plain_lowers_it(self) -> None:
        assert naturalness(read(" ".join(f"w{i}" for i in range(120)))) == 1.0
        assert naturalness(read(" ".join(f"w{i}" for i in range(180)))) == pytest.approx(0.5)
        assert naturalness(read(" ".join(f"w{i}" for i in range(300)))) == 0.0


class TestReadability:
    def test_it_is_fleschs_formula(self) -> None:
        # Oslo lies in Norway: 4 words, 1 sentence, os-lo, lies, in, nor-way: 6 syllables.
        assert readability(read("Oslo lies in Norway.")) == pytest.approx(
            (206.835 - 1.015 * 4 - 84.6 * 6 / 4) / 100
        )

    def test_long_words_lower_it(self) -> None:
        assert readability(read("Internationalisation necessitates reconsideration.")) == 0.0
        assert readability(read("She was here. He was not.")) == 1.0


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200), st.one_of(st.none(), st.text(max_size=20)), st.floats(-20, 0))
def test_every_aspect_of_any_text_is_within_its_range(text: str, answer: str | None, logprob: float) -> None:
    for name, value in score_aspects(read(text, answer, logprob)).items():
        assert 0.0 <= value <= 1.0, name


def test_the_mean_goes_by_the_weights_of_what_is_there() -> None:
    aspects = {"factuality": 1.0, "relevance": 0.0}
    assert weighted_mean(aspects, {"factuality": 3.0, "relevance": 1.0, "fluency": 9.0}) == 0.75
    with pytest.raises(ValueError, match="none of these"):
        weighted_mean(aspects, {"fluency": 1.0})
