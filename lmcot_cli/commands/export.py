"""`lmcot export`: write trained models as files that other programs run, and verify them against their source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmcot_cli.commands.stdout import write_text
from lmcot_cli.errors import MissingExtraError
from lmcot_cli.settings.declaration import Given, build, takes
from lmcot_export.options import ExportOptions

if TYPE_CHECKING:
    from lmcot_export.outcome import ExportReport

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot export[/cyan]  the newest run under ./runs, as GGUF in float16

[cyan]lmcot export runs/small --quantize q4_0,q8_0 --verify questions.jsonl --recommend[/cyan]  and which to take

[cyan]lmcot export runs/small --adapter-only[/cyan]  the LoRA adapter, for --small-adapter
"""


@takes(ExportOptions)
def export(
    given: Given,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|MODEL]",
            help="A run of lmcot train, or a model's folder.",
            show_default="the newest under ./runs",
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
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Write a trained model as GGUF or ONNX, quantized, and verify each file against its source.

    The exit code is 1 if a file fails (its name then ends in .rejected), or if there are too few questions to tell
    whether it answers as well as its source (.unverified); --allow-inconclusive lets the latter pass. Files that were
    not written by an export are never replaced.
    """
    export_model(build(ExportOptions, given, source=source, output=output), as_json=as_json)


def export_model(options: ExportOptions, *, as_json: bool = False) -> None:
    """Export a model and show the result.

    Raises:
        Exit: A file did not pass.
    """
    from lmcot_cli.commands.export_report import Bar, show
    from lmcot_cli.commands.printable import escaped
    from lmcot_cli.pipeline.destinations import destinations
    from lmcot_cli.pipeline.options import AnswerOptions

    try:
        from lmcot_export.run import export as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("lmcot export", "export") from error
    if options.verify and options.questions and options.role == "small":
        for line in destinations({"large": options.large}, AnswerOptions()):
            typer.echo(escaped(line), err=True)
    with Bar() as bar:
        report = run(options, bar)
    if as_json:
        write_text(json.dumps(_record(report), indent=2))
    else:
        show(report)
    if not report.passed:
        raise typer.Exit(1)


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
