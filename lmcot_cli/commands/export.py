"""`lmcot export`: trained models as files that other programs run, verified against their source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lmcot_cli.backends.base import Role
from lmcot_cli.commands.stdout import write_text
from lmcot_cli.errors import MissingExtraError

if TYPE_CHECKING:
    from lmcot_export.options import ExportOptions, ExportReport

_VERIFY, _CONVERT = "Verification", "Conversion"

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot export[/cyan]  the newest run under ./runs, as GGUF in float16

[cyan]lmcot export runs/small --quantize q4_0,q8_0 --verify questions.jsonl --recommend[/cyan]  and which to take

[cyan]lmcot export runs/small --adapter-only[/cyan]  the LoRA adapter, for --small-adapter
"""


def export(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|MODEL]",
            help="A run of lmcot train, or a model's folder.",
            show_default="the newest under ./runs",
        ),
    ] = None,
    format: Annotated[
        Literal["gguf", "onnx"],
        typer.Option("--format", help="gguf: for llama.cpp and lmcot itself. onnx: for ONNX Runtime."),
    ] = "gguf",
    quantize: Annotated[
        str | None,
        typer.Option(
            "--quantize",
            metavar="TYPES",
            help="How weights are stored, one file each: f32, bf16, f16, q8_0, q4_k_m, q4_0, ...; onnx: f32, int8.",
            show_default="gguf: f16, onnx: f32",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the files.",
            show_default="export in the run's folder, MODEL-export here",
        ),
    ] = None,
    adapter_only: Annotated[
        bool,
        typer.Option(
            "--adapter-only",
            help="The LoRA adapter by itself, for --small-adapter.",
            rich_help_panel=_CONVERT,
        ),
    ] = False,
    imatrix: Annotated[
        Path | None,
        typer.Option(
            "--imatrix",
            metavar="QUESTIONS",
            help="Spend the bits on what matters for these questions; or a matrix of llama-imatrix (.gguf).",
            rich_help_panel=_CONVERT,
        ),
    ] = None,
    converter: Annotated[
        Path | None,
        typer.Option(
            "--converter",
            metavar="PATH",
            help="Let a llama.cpp checkout's own converter write the full-precision file.",
            rich_help_panel=_CONVERT,
        ),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify",
            metavar="QUESTIONS",
            help="Questions to verify with, answers compared too.",
            show_default="prompts from MicroHop, no answers",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            help="Rows of the questions to answer at most.",
            show_default="400",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(
            "--role",
            help="small: verified by the rationales it writes; large: by its own chains of thought.",
            show_default="small",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    large: Annotated[
        str | None,
        typer.Option(
            "--large",
            metavar="SPEC",
            help="LM that answers from the rationales of source and file, where these are the small LM.",
            show_default="builtin:large",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="TYPE:NAME=X",
            help="What a type must reach: top1, max_kl, mean_kl, rationales, em_drop; give it again for more.",
            show_default="its usual thresholds",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    allow_inconclusive: Annotated[
        bool,
        typer.Option(
            "--allow-inconclusive",
            help="Let a file pass where the questions are too few to tell whether exact match is lost.",
            rich_help_panel=_VERIFY,
        ),
    ] = False,
    no_verify: Annotated[
        bool,
        typer.Option("--no-verify", help="Do not compare files with their source.", rich_help_panel=_VERIFY),
    ] = False,
    recommend: Annotated[
        bool,
        typer.Option(
            "--recommend", help="Choose the type for this machine, and say why.", rich_help_panel=_VERIFY
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw size against divergence and speed.",
            rich_help_panel=_VERIFY,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads that compute.", show_default="the usable cores"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Write a trained model as GGUF or ONNX, quantized, and verify each file against its source.

    Exit code 1 where a file fails (its name then ends in .rejected), or where the questions are too few to tell whether
    it answers as well as its source (.unverified); --allow-inconclusive lets the latter pass.
    Files that no export wrote are never replaced.
    """
    report = _run(context.params)
    if as_json:
        write_text(json.dumps(_record(report), indent=2))
    else:
        from lmcot_cli.commands.export_report import show

        show(report)
    if not report.passed:
        raise typer.Exit(1)


def _run(flags: Mapping[str, Any]) -> ExportReport:
    try:
        from lmcot_export.run import export as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("lmcot export", "export") from error
    from lmcot_cli.commands.export_report import Bar
    from lmcot_cli.commands.printable import escaped
    from lmcot_cli.pipeline.destinations import destinations
    from lmcot_cli.pipeline.options import AnswerOptions

    options = read_options(flags)
    if options.verify and options.questions and options.role == "small":
        for line in destinations({"large": options.large}, AnswerOptions()):
            typer.echo(escaped(line), err=True)
    with Bar() as bar:
        return run(options, bar)


def read_options(flags: Mapping[str, Any]) -> ExportOptions:
    """Build the options from the flags; the defaults of `ExportOptions` hold for those that were not given.

    Raises:
        UsageError: Names an option that cannot work.
    """
    from lmcot_export.options import ExportOptions
    from lmcot_export.quantize import FULL_TYPES, ONNX_TYPES, QUANTIZED_TYPES, parse_types

    same = ("source", "format", "output", "rows", "role", "large", "adapter_only", "imatrix", "converter", "recommend",
            "plot", "threads", "allow_inconclusive")  # fmt: skip
    settings = {name: flags[name] for name in same}
    settings |= {
        "verify": not flags["no_verify"],
        "questions": flags["verify"],
        "thresholds": flags["threshold"],
    }
    if (types := flags["quantize"]) is not None:
        known = ONNX_TYPES if flags["format"] == "onnx" else FULL_TYPES + QUANTIZED_TYPES
        settings["types"] = parse_types(types, known)
    return ExportOptions(**{name: value for name, value in settings.items() if value is not None})


def _record(report: ExportReport) -> dict[str, object]:
    chosen = report.recommendation
    return {
        "folder": str(report.folder),
        "outputs": [
            {
                "file": output.path.name,
                "type": output.type,
                "bytes": output.size,
                "reused": output.reused,
                "passed": output.passed if output.verification else None,
                "verdict": output.verdict,
                "verification": output.verification.to_record() if output.verification else None,
            }
            for output in report.outputs
        ],
        "recommended": chosen and {"file": chosen.output.path.name, "reasons": list(chosen.reasons)},
        "notes": list(report.notes),
    }
