"""Every fuzz target runs on its seeds, and on what mutations make of them: no error but ours, within its time.

LMCOT_FUZZ=N tries N times as many mutations. `make fuzz` goes on from here, guided by coverage.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.target import attempt
from tests.fuzz.targets import TARGETS

TIMES = 60 * int(os.environ.get("LMCOT_FUZZ", "1"))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_mutations_make_of_them_break_nothing(name: str) -> None:
    target, random = TARGETS[name], Random(name)
    target.run(target.seeds[0])  # one that refuses everything would find nothing
    for seed in target.seeds:
        attempt(target, seed)
    for _ in range(TIMES):
        attempt(target, mutated(random.choice(target.seeds), random))
