from __future__ import annotations

import re

import pytest

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.memory_shape import MemoryShape
from lmcot_cli.backends.llama.room import MIB, plan_room
from lmcot_cli.errors import UsageError

VALUES = MemoryShape(23_040 // 2)  # of the 135M shape: 30 layers x 3 KV heads x (64 + 64)


def test_the_cache_holds_usual_requests_within_the_budget() -> None:
    room = plan_room(VALUES, 2048, EngineOptions(), parallel=16)
    assert (room.limit.tokens, room.cells) == (2048, 16 * 1024)
    assert room.size == room.cells * 23_040
    assert plan_room(VALUES, 2048, EngineOptions(kv_mib=100), parallel=16).size <= 100 * MIB + 256 * 23_040


def test_a_smaller_type_makes_room_for_more() -> None:
    options = {"kv_mib": 20}
    whole, half = (
        plan_room(VALUES, 2048, EngineOptions(kv_type=kind, **options), 1) for kind in ("f16", "q8_0")
    )  # type: ignore[arg-type]
    assert half.limit.tokens == pytest.approx(whole.limit.tokens * 64 / 34, abs=2)


STATE = 6_000_000  # values of a 350M Granite-H: 28 layers of 200,000, 24 MB


def test_states_get_what_a_least_request_leaves_of_the_budget_or_half_of_it_beside_tokens() -> None:
    recurrent = plan_room(MemoryShape(0, STATE), 1 << 20, EngineOptions(kv_mib=100), parallel=16)
    assert (recurrent.states, recurrent.limit.tokens, recurrent.limit.name) == (
        4,
        1 << 20,
        "the model's context",
    )
    assert recurrent.size == 4 * 4 * STATE
    hybrid = plan_room(MemoryShape(2048, STATE), 1 << 17, EngineOptions(kv_mib=100), parallel=16)
    assert hybrid.states == 3
    assert hybrid.size <= 100 * MIB + 256 * 4096
    assert hybrid.limit.name == "the KV budget"
    assert plan_room(MemoryShape(2048, 1000), 2048, EngineOptions(), parallel=16).states == 34


@pytest.mark.parametrize(
    "shape", [MemoryShape(2048, STATE), MemoryShape(0, STATE), MemoryShape(200_000, 1000)]
)
@pytest.mark.parametrize("n_ctx", [None, 3000])
def test_the_budget_that_a_refusal_names_will_do(shape: MemoryShape, n_ctx: int | None) -> None:
    with pytest.raises(UsageError) as refused:
        plan_room(shape, 1 << 17, EngineOptions(kv_mib=1, n_ctx=n_ctx), 16)
    named = int(re.findall(r"use --kv-mib (\d+)", str(refused.value))[0])
    assert (
        plan_room(shape, 1 << 17, EngineOptions(kv_mib=named, n_ctx=n_ctx), 16).states == 2
        or shape.state_values < STATE
    )
    with pytest.raises(UsageError):
        plan_room(shape, 1 << 17, EngineOptions(kv_mib=named - 1, n_ctx=n_ctx), 16)


def test_a_budget_that_holds_no_request_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--kv-mib 5 holds 227 tokens .* may take 256: use --kv-mib 6$"):
        plan_room(VALUES, 2048, EngineOptions(kv_mib=5), 16)
    with pytest.raises(UsageError, match=r"may take 2000: use --kv-mib 44, or --n-ctx 455$"):
        plan_room(VALUES, 2048, EngineOptions(kv_mib=10, n_ctx=2000), 16)
    assert plan_room(VALUES, 200, EngineOptions(kv_mib=5), 16).limit.tokens == 200


def test_more_room_is_advised_only_where_the_model_has_it() -> None:
    room = plan_room(VALUES, 2048, EngineOptions(n_ctx=1024), parallel=1)
    assert room.limit.advice_for(2048) == "raise --n-ctx (the model's own context is 2048)"
    never = "the model's own context is 2048, too little as well: shorten the row's context"
    assert room.limit.advice_for(2049) == never
    small = plan_room(VALUES, 2048, EngineOptions(kv_mib=10), parallel=1)
    assert "raise --kv-mib" in str(small.limit.advice_for(2048))
    assert small.limit.advice_for(2049) == never
    assert plan_room(VALUES, 2048, EngineOptions(), parallel=1).limit.advice_for(4000) is None
