"""`lmcot answer`: answer the questions of a file or of standard input."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands import options, prompt_options
from lmcot_cli.errors import UsageError

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot answer questions.jsonl[/cyan]  guided by the embedded small LM

[cyan]lmcot answer questions.jsonl -o answers.jsonl --samples 5[/cyan]  a vote of five; can be resumed

[cyan]cat questions.jsonl | lmcot answer --method cot --large model.gguf | jq .answer[/cyan]  in a pipeline
"""

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE|-]",
        help="Questions: JSON, JSONL, CSV, TSV, Parquet, or a folder of datasets; JSON from standard input.",
        show_default="standard input",
    ),
]


def answer(
    context: typer.Context,
    file: FileArgument = None,
    method: options.MethodOption = None,
    limit: options.LimitOption = None,
    config: options.ConfigOption = None,
    small: options.SmallOption = None,
    small_adapter: options.SmallAdapterOption = None,
    large: options.LargeOption = None,
    prompts: options.PromptsOption = None,
    given_rationales: options.GivenRationalesOption = None,
    shots: prompt_options.ShotsOption = None,
    shots_from: prompt_options.ShotsFromOption = None,
    shots_by: prompt_options.ShotsByOption = None,
    truncate: prompt_options.TruncateOption = None,
    small_system: prompt_options.SmallSystemOption = None,
    large_system: prompt_options.LargeSystemOption = None,
    answer_kind: prompt_options.AnswerKindOption = None,
    choices: prompt_options.ChoicesOption = None,
    answer_regex: prompt_options.AnswerRegexOption = None,
    keep_raw: prompt_options.KeepRawOption = None,
    fields: prompt_options.FieldsOption = None,
    keep_columns: prompt_options.KeepColumnsOption = None,
    thinking: prompt_options.ThinkingOption = None,
    small_thinking: prompt_options.SmallThinkingOption = None,
    large_thinking: prompt_options.LargeThinkingOption = None,
    max_thinking_tokens: prompt_options.MaxThinkingTokensOption = None,
    keep_thinking: prompt_options.KeepThinkingOption = None,
    samples: options.SamplesOption = None,
    stop: options.StopOption = None,
    vote: options.VoteOption = None,
    temperature: options.TemperatureOption = None,
    top_p: options.TopPOption = None,
    seed: options.SeedOption = None,
    max_tokens: options.MaxTokensOption = None,
    max_answer_tokens: options.MaxAnswerTokensOption = None,
    deterministic: options.DeterministicOption = None,
    max_tokens_total: options.MaxTokensTotalOption = None,
    deadline: options.DeadlineOption = None,
    max_cost: options.MaxCostOption = None,
    max_errors: options.MaxErrorsOption = None,
    finish_within: options.FinishWithinOption = None,
    dry_run: options.DryRunOption = False,
    parallel: options.ParallelOption = None,
    threads: options.ThreadsOption = None,
    n_ctx: options.NCtxOption = None,
    gpu_layers: options.GpuLayersOption = None,
    kv_mib: options.KvMibOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = None,
    endpoint_api: options.EndpointApiOption = None,
    max_in_flight: options.MaxInFlightOption = None,
    rpm: options.RpmOption = None,
    tpm: options.TpmOption = None,
    request_timeout: options.RequestTimeoutOption = None,
    total_timeout: options.TotalTimeoutOption = None,
    max_reply_mib: options.MaxReplyMibOption = None,
    key_command: options.KeyCommandOption = None,
    allow_plain_http_key: options.AllowPlainHttpKeyOption = None,
    cache: options.CacheOption = None,
    reply_cache: options.ReplyCacheOption = None,
    request_fields: prompt_options.RequestFieldOption = None,
    kv_type: options.KvTypeOption = None,
    flash_attention: options.FlashAttentionOption = None,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    retry_errors: options.RetryErrorsOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Answer questions: a small LM writes a rationale for each, a large LM answers from it."""
    from lmcot_cli.commands.answer_report import Report, command_line, show_line, source_label
    from lmcot_cli.commands.interrupt import finishing
    from lmcot_cli.commands.preview import show_preview
    from lmcot_cli.commands.settings_file import settings_from
    from lmcot_cli.commands.stdout import write_data
    from lmcot_cli.config import answer_options
    from lmcot_cli.pipeline.answer import AnswerRun
    from lmcot_cli.pipeline.preview import preview

    source = _source(file)
    settings = answer_options(settings_from(config), context.params)
    if dry_run:
        kept = None if overwrite else output
        return show_preview(preview(source, settings, kept, retry_errors=retry_errors))
    run = AnswerRun(
        source, settings, output, overwrite=overwrite, retry_errors=retry_errors, command=command_line()
    )
    on_terminal = output is None and sys.stdout.isatty()
    readable = on_terminal and not json
    progress = sys.stderr.isatty() and not on_terminal
    with (
        Report(
            run, source_label(source), quiet=quiet, progress=progress, records=json and output is None
        ) as report,
        finishing(run, report.say),
        closing(run.results()) as results,
    ):
        for result in report.follow(results):
            if readable:
                show_line(result)
            elif output is None:
                write_data(result.to_line())
    if run.totals.failed:
        raise typer.Exit(1)


def _source(file: Path | None) -> Path:
    """Return the input; a person who gives none and pipes none in is told how."""
    if file is None and sys.stdin.isatty():
        raise UsageError(
            "no questions given: lmcot answer questions.jsonl, or pipe them in: ... | lmcot answer"
        )
    return file or Path("-")
