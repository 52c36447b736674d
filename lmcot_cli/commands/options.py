"""Options that commands share, declared once; their defaults are those of the dataclasses they fill.

Every option is None where it was not given, so that a settings file can come in between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.backends.endpoint.options import EndpointApi
from lmcot_cli.backends.engine_options import Dtype, KvType
from lmcot_cli.pipeline.budget import parse_duration
from lmcot_cli.pipeline.options import AnswerOptions, Method
from lmcot_cli.pipeline.vote import VoteBy

DEFAULTS = AnswerOptions()

_MODELS, _SAMPLING, _SPENDING = "Models", "Sampling", "Spending"
_ENGINE, _ENDPOINT, _OUTPUT = "Engine", "Endpoint", "Output"


def _off(given: bool | None) -> bool | None:
    """Turn a flag that is named for what it switches off into the setting."""
    return None if given is None else not given


MethodOption = Annotated[
    Method | None,
    typer.Option(
        "--method",
        help="standard: answer at once. cot: by the large LM's own chain. guided: by the small's rationale.",
        show_default=DEFAULTS.method,
    ),
]
SmallOption = Annotated[
    str | None,
    typer.Option(
        "--small",
        metavar="SPEC",
        help="LM that writes rationales: a GGUF file, hf:ORG/REPO:FILE.gguf, a folder or hub id of transformers,"
        " openai:MODEL, http://HOST:PORT/v1#MODEL, a name of `models list` or lmcot.toml.",
        show_default=DEFAULTS.small,
        rich_help_panel=_MODELS,
    ),
]
SmallAdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--small-adapter",
        metavar="[NAME=]FILE[:SCALE]",
        help="LoRA adapter (GGUF) to add to the small LM; give it again for several.",
        rich_help_panel=_MODELS,
    ),
]
LargeOption = Annotated[
    str | None,
    typer.Option(
        "--large",
        metavar="SPEC",
        help="LM that answers; named like the small one.",
        show_default=DEFAULTS.large,
        rich_help_panel=_MODELS,
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="DIR", help="Folder with prompt templates of your own.", rich_help_panel=_MODELS
    ),
]
GivenRationalesOption = Annotated[
    bool | None,
    typer.Option(
        "--given-rationales",
        help="Answer from the rationale that each row brings; no small LM is loaded.",
        show_default="off",
        rich_help_panel=_MODELS,
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples",
        "-k",
        help="Samples a row; their answers are voted on.",
        show_default=str(DEFAULTS.samples),
        rich_help_panel=_SAMPLING,
    ),
]
StopOption = Annotated[
    str | None,
    typer.Option(
        "--stop",
        metavar="RULE",
        help="When a row has samples enough: lossless (the leader cannot be caught), none (draw all), beta:0.95"
        " (Adaptive-Consistency), window:5 (early-stopping self-consistency).",
        show_default=DEFAULTS.stop,
        rich_help_panel=_SAMPLING,
    ),
]
VoteOption = Annotated[
    VoteBy | None,
    typer.Option(
        "--vote",
        help="What a sample's vote counts: majority: one. logprob: the mean probability of its answer's tokens.",
        show_default=DEFAULTS.vote,
        rich_help_panel=_SAMPLING,
    ),
]
MaxTokensTotalOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens-total",
        metavar="N",
        help="Tokens to spend, prompts included. They go where the vote is closest; what is out is finished.",
        show_default="no limit",
        rich_help_panel=_SPENDING,
    ),
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        parser=parse_duration,
        help="Time to spend: 90s, 10m, 1h30m. It goes where the vote is closest; what is out is finished.",
        show_default="no limit",
        rich_help_panel=_SPENDING,
    ),
]
MaxCostOption = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="SUM",
        help="What to spend by the prices of the settings file. It goes where the vote is closest.",
        show_default="no limit",
        rich_help_panel=_SPENDING,
    ),
]
MaxErrorsOption = Annotated[
    str | None,
    typer.Option(
        "--max-errors",
        metavar="N|P%",
        help="Give the run up when more rows fail, a share of them (5%) from the 20th row on; what is done is kept.",
        show_default="no limit",
        rich_help_panel=_SPENDING,
    ),
]
FinishWithinOption = Annotated[
    float | None,
    typer.Option(
        "--finish-within",
        metavar="SECONDS",
        help="Time for the rows nearly done, after the first Ctrl-C or SIGTERM; 0 stops at once.",
        show_default=f"{DEFAULTS.finish_within:g}",
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        help="Of what is sampled; 0 is greedy.",
        show_default="0 for one sample, 0.7 for several",
        rich_help_panel=_SAMPLING,
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        help="Sample from the likeliest tokens that hold this much probability.",
        show_default=f"{DEFAULTS.top_p:g}",
        rich_help_panel=_SAMPLING,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Seed of the run.", show_default=str(DEFAULTS.seed), rich_help_panel=_SAMPLING
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        help="Tokens a rationale or chain may take.",
        show_default=str(DEFAULTS.max_tokens),
        rich_help_panel=_SAMPLING,
    ),
]
MaxAnswerTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-answer-tokens",
        help="Tokens an answer may take.",
        show_default=str(DEFAULTS.max_answer_tokens),
        rich_help_panel=_SAMPLING,
    ),
]
DeterministicOption = Annotated[
    bool | None,
    typer.Option(
        "--deterministic",
        help="One row a batch: slower, but the same bytes again on the same machine.",
        show_default="off",
        rich_help_panel=_SAMPLING,
    ),
]
ParallelOption = Annotated[
    str | None,
    typer.Option(
        "--parallel",
        metavar="auto|N",
        help="Most sequences decoded in one batch; auto measures once what is quickest for the model here.",
        show_default="auto",
        rich_help_panel=_ENGINE,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", help="Threads that compute.", show_default="the usable cores", rich_help_panel=_ENGINE
    ),
]
NCtxOption = Annotated[
    int | None,
    typer.Option(
        "--n-ctx",
        help="Most tokens of a prompt and its completion.",
        show_default="the model's own",
        rich_help_panel=_ENGINE,
    ),
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers",
        help="Layers to put on a GPU; -1 is all.",
        show_default=str(DEFAULTS.engine.gpu_layers),
        rich_help_panel=_ENGINE,
    ),
]
KvMibOption = Annotated[
    int | None,
    typer.Option(
        "--kv-mib",
        help="Most memory for the KV cache, in MiB.",
        show_default=str(DEFAULTS.engine.kv_mib),
        rich_help_panel=_ENGINE,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where transformers computes: cpu, cuda, cuda:1...",
        show_default="a GPU where there is one",
        rich_help_panel=_ENGINE,
    ),
]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="What transformers computes in: float32, bfloat16 or float16.",
        show_default="float32 on a CPU, the model's own on a GPU",
        rich_help_panel=_ENGINE,
    ),
]
TrustRemoteCodeOption = Annotated[
    bool | None,
    typer.Option(
        "--trust-remote-code",
        help="Run the Python code that a model's repository brings.",
        show_default="off",
        rich_help_panel=_ENGINE,
    ),
]
EndpointApiOption = Annotated[
    EndpointApi | None,
    typer.Option(
        "--endpoint-api",
        metavar="API",
        help="chat; completions: plain ones, for base models; auto: chat if the endpoint has it.",
        show_default=DEFAULTS.endpoint.endpoint_api,
        rich_help_panel=_ENDPOINT,
    ),
]
MaxInFlightOption = Annotated[
    int | None,
    typer.Option(
        "--max-in-flight",
        metavar="N",
        help="Most calls at once; how many there are adapts to the endpoint.",
        show_default=str(DEFAULTS.endpoint.max_in_flight),
        rich_help_panel=_ENDPOINT,
    ),
]
RpmOption = Annotated[
    int | None,
    typer.Option(
        "--rpm",
        metavar="N",
        help="Most requests in any 60 seconds.",
        show_default="no limit",
        rich_help_panel=_ENDPOINT,
    ),
]
TpmOption = Annotated[
    int | None,
    typer.Option(
        "--tpm",
        metavar="N",
        help="Most tokens in any 60 seconds, prompts and completions together.",
        show_default="no limit",
        rich_help_panel=_ENDPOINT,
    ),
]
RequestTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--request-timeout",
        metavar="SECONDS",
        help="Time one call may take.",
        show_default=f"{DEFAULTS.endpoint.request_timeout:g}",
        rich_help_panel=_ENDPOINT,
    ),
]
TotalTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--total-timeout",
        metavar="SECONDS",
        help="Time a request may take with its retries, and that the endpoint may be down.",
        show_default=f"{DEFAULTS.endpoint.total_timeout:g}",
        rich_help_panel=_ENDPOINT,
    ),
]
MaxReplyMibOption = Annotated[
    int | None,
    typer.Option(
        "--max-reply-mib",
        metavar="MIB",
        help="Largest reply that is read, decompressed; all that are read at once take at most twice that.",
        show_default=str(DEFAULTS.endpoint.max_reply_mib),
        rich_help_panel=_ENDPOINT,
    ),
]
KeyCommandOption = Annotated[
    str | None,
    typer.Option(
        "--key-command",
        metavar="CMD",
        help="Command that prints the key; run without a shell.",
        show_default="the key in OPENAI_API_KEY",
        rich_help_panel=_ENDPOINT,
    ),
]
AllowPlainHttpKeyOption = Annotated[
    bool | None,
    typer.Option(
        "--allow-plain-http-key",
        help="Send the key over plain http to another machine, too, though it can be read on the way.",
        show_default="off",
        rich_help_panel=_ENDPOINT,
    ),
]
CacheOption = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Keep replies, so that none is paid for twice.",
        show_default="on for other machines",
        rich_help_panel=_ENDPOINT,
    ),
]
ReplyCacheOption = Annotated[
    Path | None,
    typer.Option(
        "--reply-cache",
        metavar="FILE",
        help="File that keeps replies.",
        show_default="in the user's cache folder",
        rich_help_panel=_ENDPOINT,
    ),
]
KvTypeOption = Annotated[
    KvType | None,
    typer.Option(
        "--kv-type",
        help="Values of the KV cache; q8_0 takes half the memory of f16 and more time.",
        show_default=DEFAULTS.engine.kv_type,
        rich_help_panel=_ENGINE,
    ),
]
FlashAttentionOption = Annotated[
    bool | None,
    typer.Option(
        "--no-flash-attention",
        callback=_off,
        help="Compute attention in steps, not in one pass: slower, and other last bits.",
        rich_help_panel=_ENGINE,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Answer the first N rows only.", show_default="all rows"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file to use.",
        show_default="lmcot.toml here, else in the user's configuration folder",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Write results to OUT, going on where an earlier run of the same settings ended.",
        rich_help_panel=_OUTPUT,
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Start OUT anew, whatever it holds.", rich_help_panel=_OUTPUT)
]
RetryErrorsOption = Annotated[
    bool,
    typer.Option(
        "--retry-errors",
        help="Answer the rows again that failed in OUT, in their place; the others stay as they are.",
        rich_help_panel=_OUTPUT,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Ask no model: count the rows, show the prompts of the first, estimate tokens and cost.",
        rich_help_panel=_SPENDING,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSONL, on a terminal too.", rich_help_panel=_OUTPUT)
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="No progress, warnings or summary on stderr.", rich_help_panel=_OUTPUT
    ),
]
