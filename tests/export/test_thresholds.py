from __future__ import annotations

import pytest

from lmcot_cli.errors import UsageError
from lmcot_export.thresholds import NAMES, parse_thresholds
from lmcot_export.verify import Threshold, VerifyOptions


def test_what_is_named_replaces_the_types_own() -> None:
    usual = VerifyOptions().threshold("q4_0")
    found = parse_thresholds(["q4_0:top1=0.5,mean_kl=none", "q4_0:em_drop=0.2", "f16:top1=1"])
    assert found["q4_0"] == Threshold(
        0.5, usual.max_kl, None, everywhere=usual.everywhere, rationales=usual.rationales, em_drop=0.2
    )
    assert found["f16"].top1 == 1
    assert all(hasattr(usual, name) for name in NAMES)


@pytest.mark.parametrize(
    "text", ["q4_0", "q4_0:", "q4_0:top1", "q4_0:top1=x", "q4_0:kl=1", "q4_0:everywhere=1"]
)
def test_what_is_not_understood_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"as in q4_0:top1=0\.7"):
        parse_thresholds([text])
