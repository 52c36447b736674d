"""The engine against llama-cpp-python's own high-level API, on the same random model."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from llama_cpp import Llama, llama_supports_gpu_offload

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import PromptTooLongError, RowError, UsageError

OpenTiny = Callable[..., LlamaBackend]

CONTEXT = "In the winter Ana went to Oslo and then to Rome. Her brother Ben stayed at home with the cat. "
GREEDY = Sampling(max_tokens=24)
SAMPLED = Sampling(temperature=0.9, top_p=0.95, max_tokens=24)


PLAIN = EngineOptions(threads=1, parallel=16, flash_attention=False)
"""For what must not change by a bit: with plain attention, how prompts are cut into batches changes nothing."""

NEAR_TIE = 0.05
"""Logits this close may change places; the two ways of attention differ by 0.04 at most on these prompts."""


class Reference:
    """llama-cpp-python's own loop: one sequence, one token at a time."""

    def __init__(self, path: Path, flash_attention: bool) -> None:
        self.options = EngineOptions(threads=1, parallel=16, flash_attention=flash_attention)
        self.llama = Llama(
            str(path),
            n_ctx=512,
            n_threads=1,
            n_threads_batch=1,
            verbose=False,
            logits_all=True,
            flash_attn=flash_attention,
        )
        self.end = {self.llama.token_eos()}

    def sure_beginning(self, prompt: str, max_tokens: int) -> str:
        """Return a greedy completion up to its first near-tie, which rounding may decide either way.

        Plain attention rounds alike however the prompt is cut into batches: there everything is sure. Flash
        attention computes prompts of 64 tokens and more, and shorter ones, in two ways.
        """
        text, _ = self.greedy(prompt, max_tokens)
        if not self.options.flash_attention:
            return text
        start = len(self.llama.tokenize(prompt.encode()))
        best = np.sort(self.llama.scores[start - 1 : start - 1 + len(self.written)], axis=1)[:, -2:]
        ties = np.flatnonzero(best[:, 1] - best[:, 0] < NEAR_TIE)
        return self._text(self.written[: ties[0]]) if len(ties) else text

    def greedy(self, prompt: str, max_tokens: int) -> tuple[str, list[float]]:
        """Return the text of a greedy completion and the log-probability of each of its tokens."""
        self.llama.reset()
        tokens = self.llama.tokenize(prompt.encode(), add_bos=True)
        written: list[int] = []
        for token in self.llama.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token in self.end or len(written) == max_tokens:
                break
            written.append(token)
        self.written = written
        return self._text(written), self._logprobs(len(tokens), written)

    def _text(self, tokens: list[int]) -> str:
        data = b"".join(self.llama.detokenize([token]) for token in tokens)
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data)

    def _logprobs(self, start: int, written: list[int]) -> list[float]:
        rows = self.llama.scores[start - 1 : start - 1 + len(written)].astype(np.float64)
        return [
            row[token] - np.log(np.exp(row - row.max()).sum()) - row.max()
            for row, token in zip(rows, written, strict=True)
        ]


@pytest.fixture(scope="module", params=[True, False], ids=["flash attention", "plain attention"])
def reference(tiny_gguf: Callable[..., Path], request: pytest.FixtureRequest) -> Reference:
    return Reference(tiny_gguf(), request.param)


def completions(backend: LlamaBackend, requests: list[Request], sampling: Sampling) -> list[Completion]:
    results = backend.complete(requests, sampling)
    assert all(isinstance(result, Completion) for result in results)
    return [result for result in results if isinstance(result, Completion)]


def texts(backend: LlamaBackend, prompts: list[str], sampling: Sampling = GREEDY) -> list[str]:
    requests = [Request(prompt, seed) for seed, prompt in enumerate(prompts)]
    return [completion.text for completion in completions(backend, requests, sampling)]


@pytest.mark.parametrize("prompt", ["a", "the cat", CONTEXT, CONTEXT * 3 + "Où est le café? 猫"])
def test_one_greedy_sequence_equals_the_high_level_api(
    open_tiny: OpenTiny, reference: Reference, prompt: str
) -> None:
    assert texts(open_tiny(reference.options), [prompt]) == [reference.greedy(prompt, GREEDY.max_tokens)[0]]


@pytest.mark.parametrize(
    "prompts",
    [
        [CONTEXT] * 16,
        [f"{number} is another beginning. {CONTEXT}" for number in range(16)],
        [f"{CONTEXT * 2}Question {number}: {'why ' * number}" for number in range(16)],
        [f"{CONTEXT}Row {number // 4}. {CONTEXT}Sample {'b' * (number % 4)}" for number in range(16)],
        [CONTEXT[: 6 * number + 1] for number in range(16)],
    ],
    ids=["equal", "different", "shared beginning", "shared in two levels", "each begins the next"],
)
def test_sixteen_greedy_sequences_equal_the_high_level_api(
    open_tiny: OpenTiny, reference: Reference, prompts: list[str]
) -> None:
    written = texts(open_tiny(reference.options), prompts)
    expected = [reference.sure_beginning(prompt, GREEDY.max_tokens) for prompt in prompts]
    if not reference.options.flash_attention:
        assert written == expected
    assert [text[: len(sure)] for text, sure in zip(written, expected, strict=True)] == expected
    assert sum(map(len, expected)) > 0.3 * sum(map(len, written))


def test_logprob_is_the_mean_under_the_unmodified_distribution(
    open_tiny: OpenTiny, reference: Reference
) -> None:
    prompts = [CONTEXT, CONTEXT, "the cat"]
    for prompt, completion in zip(
        prompts,
        completions(open_tiny(reference.options), [Request(prompt, 0) for prompt in prompts], GREEDY),
        strict=True,
    ):
        expected = np.mean(reference.greedy(prompt, GREEDY.max_tokens)[1])
        assert completion.logprob == pytest.approx(expected, abs=2e-3)


def test_logprob_of_samples_ignores_temperature(open_tiny: OpenTiny) -> None:
    # A temperature near 0 draws the greedy tokens; their log-probabilities must stay those of temperature 1.
    cold = Sampling(temperature=1e-4, top_p=0.5, max_tokens=24)
    backend = open_tiny()
    greedy, sampled = (
        completions(backend, [Request(CONTEXT, 5)], sampling)[0] for sampling in (GREEDY, cold)
    )
    assert sampled.text == greedy.text
    assert sampled.logprob == pytest.approx(greedy.logprob)


def test_a_seed_gives_the_same_text_wherever_it_stands(open_tiny: OpenTiny) -> None:
    backend = open_tiny()
    alone = texts_by_seed(backend, [7])[7]
    crowded = texts_by_seed(backend, [3, 9, 7, 1, 12])
    assert crowded[7] == alone
    assert texts_by_seed(backend, [12, 7, 1]) == {seed: crowded[seed] for seed in (12, 7, 1)}


def test_different_seeds_differ(open_tiny: OpenTiny) -> None:
    assert len(set(texts_by_seed(open_tiny(), list(range(16))).values())) == 16


def test_a_sample_does_not_depend_on_the_other_prompts(open_tiny: OpenTiny) -> None:
    backend = open_tiny()
    alone = backend.complete([Request(CONTEXT, 7)], SAMPLED)
    others = [Request(f"{number} other things", number) for number in range(12)]
    assert backend.complete([*others, Request(CONTEXT, 7)], SAMPLED)[-1].text == alone[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**63, -1])
def test_any_integer_is_a_seed(open_tiny: OpenTiny, seed: int) -> None:
    backend = open_tiny()
    assert texts_by_seed(backend, [seed]) == texts_by_seed(backend, [seed])


def texts_by_seed(backend: LlamaBackend, seeds: list[int]) -> dict[int, str]:
    results = completions(backend, [Request(CONTEXT, seed) for seed in seeds], SAMPLED)
    return {seed: result.text for seed, result in zip(seeds, results, strict=True)}


def test_equal_calls_give_equal_bytes_after_other_work_and_in_a_new_process(open_tiny: OpenTiny) -> None:
    requests = [Request(f"{CONTEXT}{number % 5}", number) for number in range(20)]
    first = open_tiny()
    fresh = first.complete(requests, SAMPLED)
    first.complete([Request("something else entirely", 1)] * 30, replace(SAMPLED, max_tokens=40))
    assert first.complete(requests, SAMPLED) == fresh
    assert open_tiny().complete(requests, SAMPLED) == fresh


@pytest.mark.parametrize(("temperature", "top_p"), [(1.5, 1.0), (1.5, 0.8), (0.8, 0.95)])
def test_first_tokens_are_drawn_from_the_models_distribution(
    open_tiny: OpenTiny, reference: Reference, temperature: float, top_p: float
) -> None:
    # Chi-square over the tokens expected at least five times: mean = degrees of freedom, variance twice that.
    draws = 5000
    results = completions(
        open_tiny(replace(reference.options, parallel=100)),
        [Request(CONTEXT, seed) for seed in range(draws)],
        Sampling(temperature, top_p, max_tokens=1),
    )
    reference.llama.reset()
    tokens = reference.llama.tokenize(CONTEXT.encode())
    reference.llama.eval(tokens)
    logits = reference.llama.scores[len(tokens) - 1].astype(np.float64)
    chances = nucleus(softmax(logits / temperature), top_p)
    # Tokens are known by their log-probability at temperature 1, which is distinct for each.
    at_one = np.log(softmax(logits))
    (end,) = reference.end  # drawn first, it leaves an empty text without a log-probability
    drawn = [
        end if result.logprob is None else int(np.abs(at_one - result.logprob).argmin()) for result in results
    ]
    counts = np.bincount(drawn, minlength=len(chances))
    assert counts[chances == 0].sum() == 0
    common = chances * draws >= 5
    expected = chances[common] * draws
    chi_square = float(((counts[common] - expected) ** 2 / expected).sum())
    freedom = int(common.sum())
    assert freedom > 5
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def nucleus(chances: np.ndarray, top_p: float) -> np.ndarray:
    """Set what is not among the likeliest tokens of mass top-p to 0, and scale the rest to 1."""
    ranked = np.argsort(-chances)
    kept = ranked[np.cumsum(chances[ranked]) - chances[ranked] < top_p]
    cut = np.zeros_like(chances)
    cut[kept] = chances[kept]
    return cut / cut.sum()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_stop_string_ends_the_text_before_it(open_tiny: OpenTiny, length: int) -> None:
    backend = open_tiny()
    whole = completions(backend, [Request(CONTEXT, 0)], GREEDY)[0]
    begin = len(whole.text) // 2
    stop = whole.text[begin : begin + length]
    cut = completions(backend, [Request(CONTEXT, 0)], replace(GREEDY, stop=("never written", stop)))[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < whole.completion_tokens


def test_the_end_token_ends_the_text_and_is_not_counted(open_tiny: OpenTiny) -> None:
    results = completions(
        open_tiny(), [Request(CONTEXT, seed) for seed in range(64)], Sampling(temperature=3.0, max_tokens=200)
    )
    ended = [result for result in results if result.finish_reason == "stop"]
    assert ended
    assert all(result.completion_tokens < 200 and "<|im_end|>" not in result.text for result in ended)
    assert all(result.completion_tokens == 200 for result in results if result.finish_reason == "length")


def test_a_text_that_ends_at_once_is_empty_and_has_no_logprob(open_tiny: OpenTiny) -> None:
    results = completions(
        open_tiny(EngineOptions(parallel=64, threads=1)),
        [Request(CONTEXT, seed) for seed in range(3000)],
        Sampling(temperature=3.0, max_tokens=1),
    )
    empty = [result for result in results if result.completion_tokens == 0]
    assert empty
    assert all(
        result.text == "" and result.logprob is None and result.finish_reason == "stop" for result in empty
    )


def test_a_shared_prompt_is_decoded_once(open_tiny: OpenTiny) -> None:
    backend = open_tiny()
    results = completions(backend, [Request(CONTEXT, seed) for seed in range(40)], SAMPLED)
    assert backend.work.prompt_tokens == results[0].prompt_tokens
    # The last token of a completion that reached its length is written, but nothing is asked of it.
    undecoded = sum(result.finish_reason == "length" for result in results)
    assert backend.work.completion_tokens == sum(result.completion_tokens for result in results) - undecoded


def test_a_rows_prompt_is_decoded_once_for_all_its_samples_in_all_their_waves(open_tiny: OpenTiny) -> None:
    backend = open_tiny(EngineOptions(parallel=3, threads=1))
    rows = [f"{row} {CONTEXT}" for row in range(4)]
    prompt_tokens = 0
    for row, prompt in enumerate(rows):
        for wave in range(3):
            for sample in range(5):
                backend.submit(100 * wave + sample, Request(prompt, 10 * wave + sample), SAMPLED)
            while backend.pending:
                replies = backend.poll()
        assert isinstance(replies[0][1], Completion)
        prompt_tokens += replies[0][1].prompt_tokens
        assert backend.work.prompt_tokens == prompt_tokens, f"row {row}"


def test_instructions_are_decoded_once_for_all_rows(open_tiny: OpenTiny) -> None:
    backend = open_tiny(EngineOptions(parallel=4, threads=1))
    for row in range(30):
        backend.submit(row, Request(f"{CONTEXT}{row} {'x' * 40}", row), GREEDY)
    replies = []
    while backend.pending:
        replies += backend.poll()
    completions = [reply for _, reply in replies if isinstance(reply, Completion)]
    own = sum(len(f"{row} {'x' * 40}") for row in range(30))
    shared = completions[0].prompt_tokens - len("0 " + "x" * 40)
    # Where a row's number begins as another's, that one token is shared too.
    assert own + shared - 30 <= backend.work.prompt_tokens <= own + shared


def arriving(backend: LlamaBackend) -> list[int]:
    """Wait for the next replies; return their tickets."""
    while not (replies := backend.poll()):
        pass
    return [ticket for ticket, _ in replies]


def test_requests_are_taken_up_while_others_are_written(open_tiny: OpenTiny) -> None:
    backend = open_tiny(EngineOptions(parallel=4, threads=1))
    long, short = Sampling(max_tokens=200), Sampling(max_tokens=4)
    backend.submit(0, Request(CONTEXT, 0), long)
    backend.submit(1, Request("the cat", 0), short)
    assert arriving(backend) == [1]
    backend.submit(2, Request(CONTEXT * 3, 0), short)
    assert backend.pending == 2
    assert backend.poll(wait=False) == []
    assert arriving(backend) == [2]
    assert arriving(backend) == [0]
    assert (backend.pending, backend.poll()) == (0, [])


def test_requests_of_one_batch_may_be_sampled_differently(open_tiny: OpenTiny, reference: Reference) -> None:
    backend = open_tiny(replace(reference.options, parallel=4))
    samplings = [GREEDY, SAMPLED, replace(SAMPLED, temperature=0.3), replace(GREEDY, max_tokens=5)]
    alone = [completions(backend, [Request(CONTEXT, 3)], sampling)[0].text for sampling in samplings]
    for ticket, sampling in enumerate(samplings):
        backend.submit(ticket, Request(CONTEXT, 3), sampling)
    replies = {}
    while backend.pending:
        replies.update(backend.poll())
    texts = [reply.text for _, reply in sorted(replies.items()) if isinstance(reply, Completion)]
    assert texts == alone


def test_forgetting_while_requests_are_pending_is_an_error(open_tiny: OpenTiny) -> None:
    backend = open_tiny()
    backend.submit(0, Request("the cat", 0), GREEDY)
    with pytest.raises(ValueError, match="1 requests are pending"):
        backend.reset()


def test_a_shared_beginning_is_decoded_once(open_tiny: OpenTiny) -> None:
    backend = open_tiny()
    prompts = [f"{CONTEXT}{letter} is the rationale" for letter in "bcdgk"]
    results = completions(backend, [Request(prompt, 0) for prompt in prompts], GREEDY)
    shared = len(CONTEXT.encode())  # nearly every byte is a token of its own; merges make it fewer
    own = sum(result.prompt_tokens for result in results)
    assert own - 4 * shared - 4 <= backend.work.prompt_tokens < own - 3 * shared


@pytest.mark.parametrize("parallel", [1, 3, 16])
def test_work_larger_than_the_kv_budget_still_finishes(open_tiny: OpenTiny, parallel: int) -> None:
    # 1 MiB holds 455 tokens of this model (6 KV heads); these 24 requests want about 3,500.
    small = replace(PLAIN, kv_mib=1, parallel=parallel)
    prompts = [f"{number // 3} {CONTEXT}{number}" for number in range(24)]
    sampling = Sampling(max_tokens=60)
    # One by one: of these 24 x 60 tokens one is so near a tie that a batch of 16 decides it otherwise.
    one_by_one = replace(PLAIN, parallel=1)
    expected = texts(open_tiny(one_by_one, kv_heads=6, context=2048), prompts, sampling)
    assert texts(open_tiny(small, kv_heads=6, context=2048), prompts, sampling) == expected


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_prompts_is_completed_as_one_by_one(open_tiny: OpenTiny, seed: int) -> None:
    # Prompts that begin with, repeat and branch off one another at every depth, in a cache with little room.
    random = Random(seed)
    prompts = [""]
    while len(prompts) < 60:
        prompts.append(random.choice(prompts) + random.choice("bcd") * random.choice([0, 1, 7, 30, 90]))
    prompts = [f"{prompt} " for prompt in prompts if len(prompt) < 400]
    random.shuffle(prompts)
    sampling = Sampling(max_tokens=5)
    tight = replace(PLAIN, kv_mib=1, parallel=random.choice([1, 2, 5, 16, 60]))
    model = {"kv_heads": 6, "context": 2048}
    alone = open_tiny(PLAIN, **model)
    expected = {prompt: texts(alone, [prompt], sampling)[0] for prompt in set(prompts)}
    assert texts(open_tiny(tight, **model), prompts, sampling) == [expected[prompt] for prompt in prompts]


def test_a_prompt_that_does_not_fit_fails_in_its_place_only(
    open_tiny: OpenTiny, reference: Reference
) -> None:
    backend = open_tiny(context=128)
    long = CONTEXT * 4
    before, error, after = backend.complete(
        [Request("a", 0), Request(long, 0), Request("the cat", 0)], GREEDY
    )
    tokens = len(reference.llama.tokenize(long.encode()))
    assert isinstance(error, PromptTooLongError)
    assert (error.prompt_tokens, error.max_tokens, error.context_tokens) == (tokens, 24, 128)
    assert "more than the model's context of 128; shorten the row's context" in str(error)
    assert isinstance(before, Completion)
    assert isinstance(after, Completion)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            EngineOptions(n_ctx=300, threads=1, parallel=16),
            "the --n-ctx of 300; raise --n-ctx (the model's own context is 2048)",
        ),
        (
            EngineOptions(kv_mib=1, threads=1, parallel=16),
            "the KV budget of 455; raise --kv-mib (the model's whole context takes",
        ),
    ],
)
def test_what_limits_a_prompt_is_named(open_tiny: OpenTiny, options: EngineOptions, said: str) -> None:
    (error,) = open_tiny(options, kv_heads=6, context=2048).complete([Request(CONTEXT * 8, 0)], GREEDY)
    assert said in str(error)


def test_the_longest_prompt_that_fits_is_completed(open_tiny: OpenTiny) -> None:
    backend = open_tiny(EngineOptions(n_ctx=100, threads=1, parallel=16))
    prompts = ["z" * length for length in (75, 76)]  # with the beginning-of-text token 76 and 77 tokens
    fits, too_long = backend.complete([Request(prompt, 0) for prompt in prompts], GREEDY)
    assert isinstance(fits, Completion)
    assert fits.prompt_tokens + GREEDY.max_tokens == 100
    assert isinstance(too_long, PromptTooLongError)
    assert [backend.excess(Request(prompt, 7), GREEDY) for prompt in prompts] == [0, 1]


def test_a_prompt_longer_than_a_batch_is_decoded_in_parts(
    open_tiny: OpenTiny, tiny_gguf: Callable[..., Path]
) -> None:
    llama = Llama(str(tiny_gguf(context=2048)), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False)
    prompts = [CONTEXT * 15 + end for end in ("", "b", "c")]
    assert len(llama.tokenize(prompts[0].encode())) > 1024
    expected = []
    for prompt in prompts:
        tokens = llama.generate(llama.tokenize(prompt.encode()), temp=0.0, repeat_penalty=1.0)
        data = b"".join(llama.detokenize([token]) for _, token in zip(range(8), tokens, strict=False))
        expected.append(codecs.getincrementaldecoder("utf-8")("replace").decode(data))
    assert texts(open_tiny(context=2048), prompts, Sampling(max_tokens=8)) == expected


def test_an_empty_prompt_without_a_beginning_token_is_a_row_error(open_tiny: OpenTiny) -> None:
    (error,) = open_tiny(add_bos=False).complete([Request("", 0)], GREEDY)
    assert isinstance(error, RowError)
    assert "empty" in str(error)


def test_no_requests_no_completions(open_tiny: OpenTiny) -> None:
    assert open_tiny().complete([], GREEDY) == []


def test_identity_is_the_files_digest(tiny_gguf: Callable[..., Path]) -> None:
    with LlamaBackend(tiny_gguf(), spec="builtin:small") as backend:
        assert backend.identity.spec == "builtin:small"
        assert backend.identity.digest is not None
        assert backend.identity.digest.startswith("sha256:")
        assert len(backend.identity.digest) == 71


def test_closing_twice_does_no_harm_and_asking_then_is_an_error(tiny_gguf: Callable[..., Path]) -> None:
    backend = LlamaBackend(tiny_gguf())
    backend.close()
    backend.close()
    with pytest.raises(ValueError, match="closed"):
        backend.complete([Request("a", 0)], GREEDY)


def test_gpu_layers_without_a_gpu_build_are_refused(tiny_gguf: Callable[..., Path]) -> None:
    if llama_supports_gpu_offload():
        pytest.skip("this build can use a GPU")
    with pytest.raises(UsageError, match="--gpu-layers 3"):
        LlamaBackend(tiny_gguf(), EngineOptions(gpu_layers=3))
