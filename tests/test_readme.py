"""What the documents say is so: commands parse, files exist, the reference is that of the commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.main import get_command

from lmcot_cli.main import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/own-data.md",
    "docs/python.md",
    "docs/real-models.md",
    "docs/results.md",
    "docs/settings.md",
    "examples/README.md",
    "examples/bench.md",
    "examples/endpoints.md",
    "examples/pipeline.sh",
    "examples/train/README.md",
    "lmcot_cli/models/CARD.md",
)
SHELLS = ("", "sh", "console", "bash")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands_in(text: str) -> Iterator[str]:
    """Yield every `lmcot ...` of code blocks and inline code, cut out of its pipeline."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    for block in [code for language, code in blocks if language in SHELLS] if blocks else [text]:
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s[|;]\s|&&|>\s", line.partition(" #")[0]):
                if re.match(r"\s*(\$ )?lmcot( |$)", part):
                    yield part.strip().removeprefix("$ ").rstrip("|").strip()
    yield from re.findall(r"`(lmcot [^`]+)`", text)


COMMANDS = sorted({command for document in DOCUMENTS for command in commands_in(text_of(document))})


def parse(words: list[str]) -> None:
    """Parse as the command line does, without running anything; a name alone needs no arguments."""
    command: Any = get_command(app)
    context: Any = typer.Context(command, info_name="lmcot")
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name.startswith("-"):
            assert name in {option for parameter in command.get_params(context) for option in parameter.opts}
            return
        assert name in command.commands, f"no command {name!r}"
        _, command, _ = command.resolve_command(context, [name])
        context = typer.Context(command, info_name=name, parent=context)
    if words:
        command.make_context(command.name, words, parent=context.parent)


def test_every_document_is_looked_at() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("docs", "examples")
        for path in (ROOT / folder).rglob("*.md")
    }
    found |= {path.name for path in ROOT.glob("*.md")}
    assert found - {"CHANGELOG.md", "docs/cli.md"} <= set(DOCUMENTS)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_documents_parses(command: str) -> None:
    words = shlex.split(command)[1:]
    parse([word for word in words if word != "|"])


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document.endswith(".md")])
def test_every_link_leads_to_a_file(document: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", text_of(document)):
        if "://" not in link:
            assert (ROOT / document).parent.joinpath(link).exists(), f"{document} links to {link}"


def test_the_file_tree_of_the_readme_is_true() -> None:
    tree = re.findall(r"^    ( *)([\w./]+/) {2,}\w", text_of("README.md"), re.MULTILINE)
    assert len(tree) >= 10
    parent = ROOT
    for indent, name in tree:
        folder = parent / name if indent else ROOT / name
        assert folder.is_dir(), f"README names {name}"
        parent = parent if indent else folder


def test_every_command_has_a_row_in_the_readme() -> None:
    named = set(re.findall(r"^\| `lmcot (\w+)` \|", text_of("README.md"), re.MULTILINE))
    group: Any = get_command(app)
    assert named == set(group.commands)


def test_the_command_reference_is_up_to_date() -> None:
    written = load(ROOT / "docs" / "write_cli.py").reference()
    assert text_of("docs/cli.md") == written, "run: make docs"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_example_on_a_line_of_its_own() -> None:
    lines = text_of("docs/cli.md").splitlines()
    assert not [line for line in lines if re.search(r"` `|` $", line)]
