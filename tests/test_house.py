"""The house as a whole: quick to start, one version, a complete wheel, nothing of one machine in it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import lmcot_cli

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch", "transformers", "trl", "peft", "optimum", "onnxruntime", "llama_cpp", "openai",
    "huggingface_hub", "scipy", "pandas", "datasets", "tokenizers", "gguf", "lmcot_train", "lmcot_export",
}  # fmt: skip


def modules_loaded_by(code: str) -> set[str]:
    report = "import sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    return set(done.stdout.split())


OPTIONS_ALONE = {"lmcot_train", "lmcot_export"}
"""Packages that commands take their options from, and nothing else."""

COMMANDS = ["", "answer", "bench", "data", "eval", "export", "models", "train", "train distill", "train all"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import typer.testing as t, lmcot_cli.main as m\n"
        f"for words in {COMMANDS}:\n"
        "    assert t.CliRunner().invoke(m.app, [*words.split(), '--help']).exit_code == 0, words"
    )
    loaded = modules_loaded_by(code)
    assert "lmcot_cli" in loaded
    assert loaded & (HEAVY | {"numpy", "jinja2", "sklearn"}) - OPTIONS_ALONE == set()


def test_the_public_door_loads_nothing_heavy() -> None:
    loaded = modules_loaded_by("import lmcot")
    assert "lmcot" in loaded
    assert loaded & (HEAVY | {"typer"}) == set()


def test_no_module_of_the_cli_loads_anything_heavy_by_itself() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "lmcot_cli").rglob("*.py"))
        if path.stem != "__main__"
    ]
    loaded = modules_loaded_by("\n".join(f"import {module}" for module in modules))
    assert loaded & HEAVY - OPTIONS_ALONE == set()


def test_the_version_is_the_changelogs_newest() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == lmcot_cli.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_the_models_and_the_templates(wheel: set[str]) -> None:
    carried = {
        f"lmcot_cli/models/{name}" for name in ("small.gguf", "large.gguf", "CARD.md", "checksums.txt")
    }
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lmcot_cli/prompts").glob("*.j2")}
    assert templates
    assert carried | templates <= wheel


def test_the_wheel_brings_four_packages_and_nothing_else(wheel: set[str]) -> None:
    top = {name.partition("/")[0] for name in wheel}
    version = lmcot_cli.__version__
    assert top == {"lmcot", "lmcot_cli", "lmcot_train", "lmcot_export", f"lmcot-{version}.dist-info"}


def test_no_file_names_a_place_of_one_machine() -> None:
    place = re.compile(r"(?<![\w.~-])/(home|Users|root|work|tmp|opt|mnt)/[\w.-]+")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in project_files()
        for match in place.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def project_files() -> list[Path]:
    """Return every text file of the project, without what tools and runs leave behind."""
    left_behind = {"__pycache__", "build", "dist", "runs"}
    hidden = {path.name for path in ROOT.glob(".*")} - {".ci", ".gitignore", ".pre-commit-config.yaml"}
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not (left_behind | hidden) & set(path.relative_to(ROOT).parts)
        and path.suffix not in {".gguf", ".png", ".svg"}
        and path != Path(__file__)
    ]
