import pytest

from lmcot_cli.backends.constraint import JsonSchema
from lmcot_cli.backends.llama.grammar import grammar_of
from lmcot_cli.backends.llama.pattern_ways import has_too_many_ways
from lmcot_cli.errors import UsageError


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{0,30}){0,30}",
        "((a?){9}){9}",
        "((((a?){9}){9}){9}){9}",
        "(a|b)?" * 30,
        "(a{0,30}b?){0,30}",
        "([a-z]{1,50}){9}",
    ],
)
def test_a_pattern_that_llama_cpp_cannot_follow_in_time_is_refused(pattern: str) -> None:
    assert has_too_many_ways(pattern)
    text = '{"type": "string", "pattern": "^' + pattern + '$"}'
    with pytest.raises(UsageError, match="can be matched in too many ways"):
        grammar_of(JsonSchema(text, {}))


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{4}-\d{2}-\d{2}",
        r"\d{1,3}(,\d{3})*(\.\d+)?",
        "([a-z]{1,20} ){0,10}",
        "[A-Z][a-z]{1,200}( [A-Z][a-z]{1,200}){0,5}",
        "a{0,1000}",
        "(a{0,10}){0,10}",
        r"(?:\(?\d{3}\)?[-. ]?)?[()?{}]{2}[^]?]",
    ],
)
def test_everyday_patterns_are_followed(pattern: str) -> None:
    assert not has_too_many_ways(pattern)
