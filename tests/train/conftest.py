"""Both shapes of model in turn."""

from __future__ import annotations

import pytest

from examples.train.toy_ppo import Shape


@pytest.fixture(params=["causal", "t5"])
def shape(request: pytest.FixtureRequest) -> Shape:
    """Both shapes of model in turn."""
    found: Shape = request.param
    return found
