from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.backends.llama.prefixes import MAX_DEPTH, WORTH_A_STEP, Leaf, Prefix, Tokens, share_prefixes

BLOCKS = [list(range(10 * block, 10 * block + 20)) for block in range(4)]
PROMPTS = st.lists(
    st.lists(st.sampled_from(BLOCKS), max_size=7).map(
        lambda blocks: [token for block in blocks for token in block]
    ),
    max_size=12,
)


def arrays(prompts: list[list[int]]) -> list[Tokens]:
    return [np.array(prompt, np.int32) for prompt in prompts]


def path(leaf: Leaf) -> list[Prefix]:
    """The prefixes before a leaf, outermost first."""
    prefixes: list[Prefix] = []
    prefix = leaf.parent
    while prefix:
        prefixes.insert(0, prefix)
        prefix = prefix.parent
    return prefixes


@given(PROMPTS)
def test_every_prompt_is_its_path_and_its_own_tokens(prompts: list[list[int]]) -> None:
    leaves = share_prefixes(arrays(prompts))
    assert sorted(leaf.index for leaf in leaves) == list(range(len(prompts)))
    for leaf in leaves:
        shared = [token for prefix in path(leaf) for token in prefix.tokens.tolist()]
        assert shared + leaf.tokens.tolist() == prompts[leaf.index]
        assert leaf.start == len(shared)
        assert len(path(leaf)) <= MAX_DEPTH


@given(PROMPTS)
def test_what_the_scheduler_relies_on(prompts: list[list[int]]) -> None:
    leaves = share_prefixes(arrays(prompts))
    for prefix in {prefix for leaf in leaves for prefix in path(leaf)}:
        below = [place for place, leaf in enumerate(leaves) if prefix in path(leaf)]
        assert len(below) == prefix.leaves >= 2
        assert below == list(range(below[0], below[-1] + 1))  # they stand together
        assert len(prefix.tokens) > 0
    for leaf in leaves:
        if len(leaf.tokens) == 0 and leaf.parent:
            assert leaf.parent.ends_prompt


@given(PROMPTS)
def test_sharing_saves_tokens(prompts: list[list[int]]) -> None:
    leaves = share_prefixes(arrays(prompts))
    prefixes = {prefix for leaf in leaves for prefix in path(leaf)}
    decoded = sum(len(part.tokens) for part in [*leaves, *prefixes])
    assert decoded <= sum(map(len, prompts)) - WORTH_A_STEP * len(prefixes)


def test_samples_share_the_whole_prompt() -> None:
    leaves = share_prefixes(arrays([list(range(30))] * 3))
    assert [leaf.tokens.tolist() for leaf in leaves] == [[], [], []]
    assert len({leaf.parent for leaf in leaves}) == 1


def test_instructions_contexts_and_samples_make_a_tree() -> None:
    system, first, second = list(range(20)), list(range(50, 80)), list(range(90, 120))
    prompts = [system + context + [1000 + number] for context in (first, second) for number in range(3)]
    leaves = share_prefixes(arrays(prompts))
    assert [leaf.index for leaf in leaves] == list(range(6))
    assert [len(prefix.tokens) for prefix in path(leaves[0])] == [20, 30]
    assert path(leaves[0])[0] is path(leaves[5])[0]
    assert path(leaves[0])[1] is not path(leaves[5])[1]


def test_a_single_common_token_is_not_worth_a_step() -> None:
    leaves = share_prefixes(arrays([[0, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 9]]))
    assert all(leaf.parent is None for leaf in leaves)


def test_thousands_of_nested_prompts_do_not_exhaust_the_stack() -> None:
    prompts = [list(range(length)) for length in range(1, 2000)]
    assert len(share_prefixes(arrays(prompts))) == len(prompts)
