"""Settings of one model alone: `--small-option n_ctx=4096`, `--large-option request_timeout=60`."""

from __future__ import annotations

import pytest

from lmcot_cli.errors import UsageError
from lmcot_cli.pipeline.options import AnswerOptions


def test_each_model_has_its_own_settings_over_those_of_both() -> None:
    options = AnswerOptions(
        small_option=("n_ctx=512", "kv-type=q8_0"),
        large_option=("request_timeout=60", "cache=false", "parallel=auto"),
    )
    assert (options.engine_of("small").n_ctx, options.engine_of("large").n_ctx) == (512, None)
    assert options.engine_of("small").kv_type == "q8_0"
    assert (options.endpoint_of("small").request_timeout, options.endpoint_of("large").request_timeout) == (
        120,
        60,
    )
    assert options.endpoint_of("large").cache is False
    assert options.endpoint_of("small") == options.endpoint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_ctx", r"--small-option n_ctx: write NAME=VALUE; the names are n_ctx, parallel"),
        ("samples=3", r"--small-option samples=3: write NAME=VALUE"),
        ("key_command=cat k", r"--small-option key_command=cat k: write NAME=VALUE"),
        ("n_ctx=many", r"--small-option n_ctx=many: input should be a valid integer"),
        ("n_ctx=0", r"--n-ctx 0: give 1 or more"),
        ("rpm=-1", r"--rpm -1: give 1 or more"),
    ],
)
def test_what_cannot_be_used_is_named_before_the_run(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        AnswerOptions(small_option=(text,)).check()


def test_only_what_changes_answers_counts_on_a_resume() -> None:
    def record(*texts: str, deterministic: bool = False) -> object:
        return AnswerOptions(small_option=texts, deterministic=deterministic).recorded()["small_option"]

    assert record() is None
    assert record("n_ctx=512", "request_timeout=9") is None
    assert record("n_ctx=512", "kv_type=q8_0", "dtype=float16") == "dtype=float16,kv_type=q8_0"
    assert record("n_ctx=512", deterministic=True) == "n_ctx=512"
