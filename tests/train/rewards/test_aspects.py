"""Each aspect: what raises it, what lowers it, and its bounds, on one small world worked by hand."""

from __future__ import annotations

from dataclasses import replace
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
        # Of ann moore and paris one of two is borne out: a quarter of a half; born, the one plain word, is known.
        assert factuality(read("Ann Moore was born in Paris.")) == pytest.approx(1 / 8)

    def test_a_true_value_given_to_the_wrong_name_lowers_it(self) -> None:
        assert factuality(read("Ann Moore was born in Rome.")) == pytest.approx(1 / 8)
        assert factuality(read("Ann Moore was born in Oslo.")) == 1.0

    def test_a_wrong_number_lowers_it(self) -> None:
        assert factuality(read("Silent River was released in 1991.")) == pytest.approx(1 / 8)
        assert factuality(read("Silent River was released in 1990.")) == 1.0

    def test_plain_words_from_nowhere_lower_it_a_little(self) -> None:
        # Both names are borne out; of whistled and born one of two is known: 0.9 + 0.1 / 2.
        assert factuality(read("Ann Moore whistled, born in Oslo.")) == pytest.approx(0.95)

    def test_two_hops_may_stand_in_one_statement(self) -> None:
        assert factuality(read("Silent River was directed by Ann Moore, who was born in Oslo.")) == 1.0
        assert factuality(read("Silent River was directed by Ann Moore, who was born in Rome.")) < 0.2

    def test_a_pronoun_is_who_was_named_before(self) -> None:
        assert factuality(read("Silent River was directed by Ann Moore. She was born in Oslo.")) == 1.0
        assert factuality(read("Silent River was directed by Ann Moore. She was born in Rome.")) < 0.7

    def test_a_title_stands_for_pronouns_in_its_paragraph(self) -> None:
        assert factuality(read("Ann Moore married Al Stone.")) == 1.0
        assert factuality(read("Al Stone was released in 1990.")) < 0.2

    def test_conclusions_and_questions_do_not_count(self) -> None:
        assert factuality(read(f"{GOOD} So the answer is Norway.")) == 1.0
        assert factuality(read(f"Where was she born? {GOOD}")) == 1.0

    def test_nothing_stated_is_nothing_borne_out(self) -> None:
        assert factuality(read("")) == 0.0
        assert factuality(read("It was so.")) == 0.0
        assert factuality(read("Norway.")) == 0.0
        assert factuality(read("The answer is Norway.")) == 0.0

    def test_a_context_without_titles_is_read_by_its_first_names(self) -> None:
        text = "Ann Moore was born in Oslo. She married Al Stone."
        row = replace(ROW, context=(Paragraph("", (text,)), Paragraph("", ("Al Stone was born in Rome.",))))
        assert factuality(read_chain(row, "Ann Moore married Al Stone.")) == 1.0
        assert factuality(read_chain(row, "Ann Moore was born in Rome.")) < 0.2


class TestRelevance:
    def test_statements_that_lead_nowhere_lower_it(self) -> None:
        # Silent River is named; of four statements the third leads from nothing that was asked to nothing that is told.
        first, second, third = GOOD.split(". ")
        text = f"{first}. {second}. She married Al Stone. {third}"
        assert relevance(read(text)) == pytest.approx(3 / 4)
        assert relevance(read(GOOD)) == 1.0

    def test_saying_it_again_lowers_it(self) -> None:
        assert relevance(read(f"{GOOD} {GOOD}")) == pytest.approx(1 / 2)

    def test_not_naming_what_was_asked_about_lowers_it(self) -> None:
        assert relevance(read("Ann Moore was born in Oslo.")) == 0.0

    def test_asking_again_is_not_naming(self) -> None:
        assert relevance(read(f"{ROW.question} Oslo lies in Norway.")) == 0.0

    def test_a_comparison_needs_the_two_statements_that_are_alike(self) -> None:
        row = replace(ROW, question="Were Ann Moore and Al Stone born in the same city?")
        text = "Ann Moore was born in Oslo. Ann Moore married Al Stone. Al Stone was born in Rome."
        chain = read_chain(row, text, "no")
        assert relevance(chain) == 1.0, "the marriage leads from one of them to the other"
        text = "Ann Moore was born in Oslo. Al Stone was born in Rome. Silent River was released in 1990."
        assert relevance(read_chain(row, text, "no")) == pytest.approx(2 / 3)


class TestLogicality:
    def test_a_missing_hop_breaks_the_route(self) -> None:
        # The first statement is all that is reached: a quarter of what it is worth.
        text = "Silent River was directed by Ann Moore. Oslo lies in Norway."
        assert logicality(read(text)) == pytest.approx(1 / 4)
        assert logicality(read(GOOD)) == 1.0

    def test_a_route_is_as_good_as_its_weakest_statement(self) -> None:
        # In the second, Rome is not borne out: of three names one is, a quarter of a third.
        text = "Silent River was directed by Ann Moore. Ann Moore was born in Rome, Norway."
        assert logicality(read(text)) == pytest.approx(1 / 12)

    def test_not_arriving_at_the_answer_lowers_it(self) -> None:
        text = "Silent River was directed by Ann Moore. Ann Moore was born in Oslo."
        assert logicality(read(text)) == pytest.approx(1 / 4)
        assert logicality(read(text, answer=None)) == 1.0

    def test_the_answer_by_itself_follows_from_nothing(self) -> None:
        assert logicality(read("Norway.")) == 0.0
        assert logicality(read(f"{ROW.question} Norway.")) == 0.0
        assert logicality(read("The director of Silent River was born in Norway.")) < 0.2

    def test_a_comparison_needs_both(self) -> None:
        row = replace(ROW, question="Were Ann Moore and Al Stone born in the same city?")
        both = "Ann Moore was born in Oslo. Al Stone was born in Rome. So the answer is no."
        assert logicality(read_chain(row, both, "no")) == 1.0
        assert logicality(read_chain(row, "Ann Moore was born in Oslo.", "no")) == pytest.approx(1 / 2)

    def test_a_question_of_one_hop_is_answered_by_one_statement(self) -> None:
        row = replace(ROW, question="Who directed Silent River?")
        # Work, the one plain word, is not known: 0.9.
        chain = read_chain(row, "Silent River is a work of Ann Moore.", "Ann Moore")
        assert logicality(chain) == pytest.approx(0.9)


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
        text = "Silent River was directed by Ann Moore. Oslo lies in Norway. Ann Moore was born in Rome."
        assert coherence(read(text)) == pytest.approx((0 + 1 / 2) / 2)
        assert coherence(read(GOOD)) == 1.0

    def test_taking_up_the_other_thing_asked_about_is_no_jump(self) -> None:
        row = replace(ROW, question="Were Ann Moore and Al Stone born in the same city?")
        assert (
            coherence(read_chain(row, "Ann Moore was born in Oslo. Al Stone was born in Rome.", "no")) == 1.0
        )

    def test_one_statement_hangs_together_with_nothing(self) -> None:
        assert coherence(read("Oslo lies in Norway.")) == 0.5
        assert coherence(read("")) == 0.0

    def test_a_first_name_in_common_is_no_link(self) -> None:
        assert coherence(read("Ann Moore sings in Rome. Ann Stone dances in Bergen.")) == 0.0
        assert coherence(read("Ann Moore sings in Rome. Moore dances in Bergen.")) == 1.0


class TestFluency:
    def test_it_is_the_mean_probability_of_a_token(self) -> None:
        assert fluency(read(GOOD, logprob=log(0.5))) == pytest.approx(0.5)
        assert fluency(read(GOOD, logprob=-8.0)) == pytest.approx(exp(-8))

    def test_it_is_left_out_where_it_is_not_known(self) -> None:
        assert "fluency" not in score_aspects(read(GOOD))
        with pytest.raises(ValueError, match="reference LM"):
            fluency(read(GOOD))


class TestNaturalness:
    def test_an_ordinary_rationale_passes(self) -> None:
        assert naturalness(read(GOOD)) == 1.0

    def test_repetition_lowers_it(self) -> None:
        # "a b" x 6: 12 words, 10 trigrams, of which aba and bab are distinct; three quarters are plain.
        assert naturalness(read("oslo rome " * 6)) == pytest.approx(2 / 10 / 0.75)

    def test_three_words_are_half_as_many_as_is_plain(self) -> None:
        assert naturalness(read("Oslo is old.")) == pytest.approx(3 / 6)

    def test_length_beyond_what_is_plain_lowers_it(self) -> None:
        assert naturalness(read(" ".join(f"w{i}" for i in range(120)))) == 1.0
        assert naturalness(read(" ".join(f"w{i}" for i in range(180)))) == pytest.approx(0.5)
        assert naturalness(read(" ".join(f"w{i}" for i in range(300)))) == 0.0

    def test_reciting_the_context_lowers_it(self) -> None:
        sentences = [f"Town {letter} lies in county {letter}." for letter in "abcdefgh"]
        row = replace(ROW, context=tuple(Paragraph("", (sentence,)) for sentence in sentences))
        assert naturalness(read_chain(row, " ".join(sentences[:4]))) == 1.0
        # Three quarters are recited, half of which is plain: 1/4 / 1/2. Of 34 trigrams all are distinct enough.
        assert naturalness(read_chain(row, " ".join(sentences[:6]))) == pytest.approx(1 / 2)
        assert naturalness(read_chain(row, " ".join(sentences))) == 0.0


class TestReadability:
    def test_an_ordinary_rationale_passes(self) -> None:
        assert readability(read(GOOD)) == 1.0
        assert readability(read("She was here. He was not.")) == 1.0

    def test_it_is_lix(self) -> None:
        # Three words in one sentence, all of more than six letters: 3 + 100, and 80 is plain.
        assert readability(read("Internationalisation necessitates reconsideration.")) == pytest.approx(
            2 - 103 / 80
        )

    def test_a_sentence_without_end_lowers_it(self) -> None:
        # 120 short words in one sentence: 120 + 0.
        assert readability(read("and so on " * 40)) == pytest.approx(2 - 120 / 80)
        assert readability(read("")) == 0.0


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
