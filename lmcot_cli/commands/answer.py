"""`lmcot answer`: answer the questions of a file or of standard input."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from lmcot_cli.commands import options
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
        help="Questions: JSONL, or a HotpotQA, 2WikiMultiHopQA or MuSiQue file.",
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
    samples: options.SamplesOption = None,
    temperature: options.TemperatureOption = None,
    top_p: options.TopPOption = None,
    seed: options.SeedOption = None,
    max_tokens: options.MaxTokensOption = None,
    max_answer_tokens: options.MaxAnswerTokensOption = None,
    deterministic: options.DeterministicOption = None,
    parallel: options.ParallelOption = None,
    threads: options.ThreadsOption = None,
    n_ctx: options.NCtxOption = None,
    gpu_layers: options.GpuLayersOption = None,
    kv_mib: options.KvMibOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = None,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Answer questions: a small LM writes a rationale for each, a large LM answers from it."""
    from lmcot_cli.commands.answer_report import Report, command_line, show_line, source_label
    from lmcot_cli.commands.stdout import write_data
    from lmcot_cli.config import answer_options, load_config
    from lmcot_cli.pipeline.answer import AnswerRun

    source = _source(file)
    settings = answer_options(load_config(config), context.params)
    run = AnswerRun(source, settings, output, overwrite=overwrite, command=command_line())
    on_terminal = output is None and sys.stdout.isatty()
    readable = on_terminal and not json
    progress = sys.stderr.isatty() and not on_terminal
    with (
        Report(run, source_label(source), quiet=quiet, progress=progress) as report,
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
