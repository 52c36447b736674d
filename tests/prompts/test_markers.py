"""What a prompt quotes as the ending that it asks for, in scripts that put no spaces around quotation marks."""

from __future__ import annotations

import pytest

from lmcot_cli.prompts.markers import quoted_ending


@pytest.mark.parametrize(
    ("prompt", "ending"),
    [
        ("마지막에 '따라서 결론은'으로 끝내세요.", "따라서 결론은"),
        ("請逐步推理, 最後以「最終結論是」結尾。", "最終結論是"),
        ("请最后以“最终结论是”结尾。", "最终结论是"),
        ("请阅读“上下文”。", None),
        ("End with 'Thus it is' and the port.", "Thus it is"),
        ("The port's name and the ship's name.", None),
        ('Read the "context".', None),
    ],
)
def test_the_ending_that_a_prompt_quotes(prompt: str, ending: str | None) -> None:
    assert quoted_ending(prompt) == ending
