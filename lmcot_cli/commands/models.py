"""`lmcot models list|show|pull`: list models, show what a file is, and download one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmcot_cli.commands.app import App
from lmcot_cli.commands.printable import printable
from lmcot_cli.commands.stdout import write_text
from lmcot_cli.errors import UsageError, did_you_mean
from lmcot_cli.models import catalogue, embedded, hub
from lmcot_cli.models.completion import complete_catalogue, complete_spec, model_names

if TYPE_CHECKING:
    from lmcot_cli.model_files.gguf_header import GgufHeader

app = App(no_args_is_help=True, help="List, inspect and download models.")

_SHOW_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot models show builtin:small[/cyan]  with its model card

[cyan]lmcot models show model.gguf --json[/cyan]  a file, for a program
"""

_PULL_EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot models pull qwen2.5-0.5b[/cyan]  a name that lmcot models list shows
"""

_THINKING = {"never": "", "optional": "can think", "always": "thinks"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the embedded pair, the GGUF files already downloaded, and models worth trying."""
    listing = {
        "embedded": [_embedded_row(name) for name in embedded.NAMES],
        "cached": [{"spec": file.source.spec, "size": file.size} for file in hub.cached()],
        "catalogue": [_entry_record(entry) for entry in catalogue.CATALOGUE],
    }
    write_text(json.dumps(listing, indent=2) if as_json else _as_text(listing))


@app.command(epilog=_SHOW_EPILOG)
def show(
    model: Annotated[
        str,
        typer.Argument(
            help="builtin:small, a GGUF file, a name of the catalogue, or hf:ORG/REPO:FILE.gguf",
            autocompletion=complete_spec,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show what a model is, from the header of its file; its weights are not loaded."""
    facts = _facts(model)
    if as_json:
        write_text(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        write_text(f"{key.replace('_', ' ') + ':':<14} {_human(key, value)}")
    if model.startswith(embedded.SCHEME):
        write_text(f"\n{embedded.card()}")


@app.command(epilog=_PULL_EPILOG)
def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name of the catalogue, or hf:ORG/REPO:FILE.gguf.",
            autocompletion=complete_catalogue,
        ),
    ],
) -> None:
    """Download a model into the local Hugging Face cache and print its spec."""
    from lmcot_cli.model_files.gguf_header import read_header

    source = _hub_file(model)
    if packaged := _packaged(model):
        typer.echo(f"{model} comes with an installed package; there is nothing to download", err=True)
        return write_text(str(packaged))
    try:
        path = hub.download(source)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command continues the download", err=True)
        raise
    header = read_header(path)
    size = _human("size", path.stat().st_size)
    typer.echo(f"{printable(header.architecture)}, {header.quantization}, {size}, in {path}", err=True)
    write_text(source.spec)


def _packaged(model: str) -> Path | None:
    entry = catalogue.find(model)
    return entry.packaged if entry else None


def _hub_file(model: str) -> hub.HubFile:
    """Return the file to download.

    Raises:
        UsageError: There is nothing to download under this name.
    """
    if model.startswith(hub.SCHEME):
        return hub.parse(model)
    if model.startswith(embedded.SCHEME):
        raise UsageError(f"{model} comes with lmcot; there is nothing to download")
    entry = catalogue.find(model)
    if entry is None:
        raise UsageError(f"no model {model!r} to download{_nearest(model)}")
    return hub.HubFile(entry.repository, entry.file)


def _facts(model: str) -> dict[str, Any]:
    """Return what is known about a model: from the catalogue, and from its file if that is on this machine."""
    if model.startswith(embedded.SCHEME):
        path = embedded.path_of(model)
        checksum = embedded.integrity(path.stem).value
        return {"spec": model, "purpose": embedded.PURPOSE, "checksum": checksum} | _file_facts(path)
    entry = catalogue.find(model)
    if entry is None and not model.startswith(hub.SCHEME):
        return {"spec": model} | _file_facts(_existing(model))
    source = _hub_file(model)
    known = {key: value for key, value in _entry_record(entry).items() if value} if entry else {}
    if entry and entry.packaged:
        return known | _file_facts(entry.packaged)
    return {"spec": source.spec} | known | _cached_facts(source, model)


def _existing(file: str) -> Path:
    if not Path(file).exists():
        raise UsageError(f"no model and no file {file!r} here{_nearest(file)}")
    return Path(file)


def _nearest(name: str) -> str:
    return (
        did_you_mean(name, model_names()) or "; see lmcot models list, or name a file: hf:ORG/REPO:FILE.gguf"
    )


def _cached_facts(source: hub.HubFile, model: str) -> dict[str, Any]:
    for file in hub.cached():
        if file.source == source:
            return _file_facts(file.path)
    entry = catalogue.find(model)
    package = f", or pip install 'lmcot[{entry.package.extra}]'" if entry and entry.package else ""
    return {"downloaded": f"no; lmcot models pull {model}{package}"}


def _entry_record(entry: catalogue.Entry) -> dict[str, Any]:
    """Return an entry of the catalogue, with the file of its package if that is installed, or else the hub's."""
    path = entry.packaged
    here = {"repository": None, "file": path.name, "size": _size(path)} if path else {}
    package = entry.package.distribution if entry.package else None
    return asdict(entry) | here | {"spec": entry.spec, "package": package, "installed": path is not None}


def _file_facts(path: Path) -> dict[str, Any]:
    from lmcot_cli.backends.engine_options import EngineOptions
    from lmcot_cli.backends.llama.memory import memory_estimate
    from lmcot_cli.model_files.gguf_header import read_header

    facts = _header_facts(read_header(path))
    memory = memory_estimate(path, EngineOptions()).total
    return {"path": str(path), "size": _size(path)} | facts | {"peak_memory": memory}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _header_facts(header: GgufHeader) -> dict[str, Any]:
    return {
        "model_name": header.name,
        "architecture": header.architecture,
        "parameters": header.parameters,
        "context": header.context_length,
        "quantization": header.quantization,
        "tokenizer": header.tokenizer,
        "vocabulary": header.vocabulary_size,
        "chat_template": header.chat_template is not None,
    }


def _embedded_row(name: str) -> dict[str, Any]:
    path = embedded.FOLDER / f"{name}.gguf"
    return {"spec": embedded.SCHEME + name, "size": _size(path), "purpose": embedded.PURPOSE}


def _as_text(listing: dict[str, list[dict[str, Any]]]) -> str:
    lines = [f"Embedded pair ({embedded.PURPOSE}):"]
    lines += [_spec_line(row) for row in listing["embedded"]]
    lines += ["", "Downloaded (the local Hugging Face cache):"]
    lines += [_spec_line(row) for row in listing["cached"]] or ["  none"]
    lines += ["", "Worth trying (lmcot models pull NAME; lmcot models show NAME for its source):"]
    lines += [_catalogue_line(entry) for entry in catalogue.CATALOGUE]
    return "\n".join(lines)


def _spec_line(row: dict[str, Any]) -> str:
    return f"  {_human('size', row['size']):>8}  {row['spec']}"


def _catalogue_line(entry: catalogue.Entry) -> str:
    size = _human("size", _entry_record(entry)["size"])
    line = f"  {size:>8}  {entry.name:<16} {entry.role:<6} {_THINKING[entry.thinking]:<16} {entry.license}"
    installed = (
        f"installed (package {entry.package.distribution})" if entry.package and entry.packaged else ""
    )
    return "; ".join(filter(None, (line, entry.note, installed)))


def _human(key: str, value: Any) -> str:
    """Return a fact as text: sizes in MB or GB (powers of ten), yes and no, thousands separated."""
    match value:
        case None:
            return "missing" if key == "size" else "-"
        case bool():
            return "yes" if value else "no"
        case int() if key in ("size", "peak_memory"):
            return catalogue.readable_size(value)
        case int():
            return f"{value:,}"
    return printable(str(value))
