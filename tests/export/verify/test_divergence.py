import math

import numpy as np
import pytest

from lmcot_export.verify.divergence import (
    compare_logits,
    everywhere,
    first_choices_agree,
    kl_divergence,
    where_written,
)


def test_kl_of_two_tokens_by_hand() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2); logits may be shifted as one likes.
    source = np.array([[math.log(3) + 7, 7.0]], np.float32)
    exported = np.array([[-2.0, -2.0]], np.float32)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kl_divergence(source, exported) == pytest.approx([expected], rel=1e-6)


def test_equal_distributions_do_not_diverge_however_large_the_logits() -> None:
    logits = np.array([[1000, 999, -1000]] * 300, np.float32)
    assert kl_divergence(logits, logits + 3).tolist() == [0.0] * 300


def test_what_is_written_is_counted_apart() -> None:
    source = np.array([[0, 1], [0, 1], [1, 0]], np.float32)
    exported = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    text = compare_logits(source, exported, begin=1)
    assert (everywhere([text, text]).positions, where_written([text, text]).positions) == (6, 4)
    assert everywhere([text]).top1 == pytest.approx(2 / 3)
    assert where_written([text]).top1 == 1.0
    assert everywhere([text]).kl_max > 0.4
    assert where_written([text]).kl_max == 0.0


def test_a_first_choice_that_the_source_does_not_make_is_no_disagreement() -> None:
    source = np.array([[1.0, 0.995, 0.0], [1.0, 0.985, 0.0]], np.float32)
    exported = np.array([[0.99, 1.0, 0.0], [0.99, 1.0, 0.0]], np.float32)
    assert first_choices_agree(source, exported).tolist() == [True, False]


def test_a_broken_number_stays_one() -> None:
    broken = np.array([[np.nan, 0.0]], np.float32)
    found = everywhere([compare_logits(np.zeros((1, 2), np.float32), broken, 0)])
    assert math.isnan(found.kl_max)
