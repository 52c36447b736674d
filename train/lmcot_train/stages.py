"""The whole of training from one TOML file: rationales, distill, refine, export.

    output = "runs/embedded"      # folder of everything that is made

    [rationales]                  # options of `lmcot train rationales`, with _ for -
    large = "builtin:large"
    samples = 4

    [distill]
    base = "runs/base"

A stage without a section is left out. A stage is skipped if its output is there and neither its options nor its inputs
have changed since; otherwise it continues where it was interrupted (or ended by a limit of refining that is higher
now), or starts anew. Paths are relative to the working directory, as on the command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from lmcot_cli.errors import InputError, OutputError
from lmcot_cli.files import read_object, sha256_of, write_json
from lmcot_cli.settings.file import toml_values
from lmcot_train.refine.options import free_settings
from lmcot_train.run_folder import CHECKPOINTS_KEPT, cannot_write

Value = str | int | float | bool | list[str] | dict[str, str]
StageName = Literal["rationales", "distill", "refine", "export"]
STAGES: tuple[StageName, ...] = ("rationales", "distill", "refine", "export")
_FILTERS = frozenset({"min_f1", "min_words", "max_words", "max_copied", "keep_surest"})
_MEMORY = frozenset({"micro_batch", "threads"})
_MOST_SHOWN = 80
"""Characters of a wrong name that a message shows."""
_WEIGHTS = ("*.safetensors", "*.gguf", "*.onnx")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A configuration file: the folder of all outputs, and the options of each stage to run."""

    output: Path
    sections: Mapping[StageName, Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of training.

    Attributes:
        name: The section.
        section: Its settings.
        source: The input: questions, rationales, or a run.
        words: The command that does the same by itself.
        inputs: Files and folders that it reads.
        output: What it makes.
        loose: Words that may change without starting anew.
    """

    name: StageName
    section: Mapping[str, Value]
    source: Path
    words: tuple[str, ...]
    inputs: tuple[Path, ...]
    output: Path
    loose: tuple[str, ...] = ()

    def fingerprint(self, *, strict: bool) -> str:
        """Return a digest of the command and the content of its inputs; a strict one counts loose words, too."""
        words = self.words if strict else tuple(word for word in self.words if word not in self.loose)
        content = {str(path): content_digest(path) for path in self.inputs}
        return sha256(json.dumps([words, content]).encode()).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Read a configuration file; its settings are checked where they are used.

    Raises:
        InputError: It cannot be read, is not TOML, or has a section or value that is not allowed.
    """
    try:
        values = toml_values(path, path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    output = values.pop("output", None)
    if not isinstance(output, str) or "\0" in output:
        raise InputError(f'{path}: needs output = "FOLDER" at its top')
    _check_sections(path, values)
    return Recipe(Path(output), {name: values[name] for name in STAGES if name in values})


def plan(recipe: Recipe, questions: Path) -> list[Stage]:
    """Return the stages, each of which reads what the one before it makes.

    Raises:
        InputError: A stage needs another one that has no section.
    """
    made = {name: recipe.output / folder for name, folder in _OUTPUTS.items()}
    stages = []
    for name, section in recipe.sections.items():
        needed = _needed(name, recipe)
        arguments, inputs = _arguments(name, section, questions, made[needed] if needed else None)
        command = ("export",) if name == "export" else ("train", name)
        words = (*command, *arguments, "-o", str(made[name]), *_words(section))
        local = [Path(value) for value in section.values() if isinstance(value, str) and _is_path(value)]
        loose = tuple(_words({key: section[key] for key in section.keys() & _loose(name, section)}))
        source = inputs[-1] if inputs else questions
        stages.append(Stage(name, section, source, words, (*inputs, *local), made[name], loose))
    return stages


_OUTPUTS: Mapping[StageName, str] = {
    "rationales": "rationales.jsonl",
    "distill": "distilled",
    "refine": "refined",
    "export": "export",
}


def run_stages(
    stages: list[Stage],
    folder: Path,
    execute: Callable[[Stage, bool], None],
    report: Callable[[str], None],
) -> list[StageName]:
    """Run each stage that has something to do; return those that ran.

    Args:
        stages: The stages in order.
        folder: The folder of `stages.json`, which tells what was made from what.
        execute: Runs a stage, anew if told so; raises if it fails.
        report: Takes lines for the user.
    """
    ran: list[StageName] = []
    for stage in stages:
        record = _StageRecord(folder / "stages.json", stage)
        if record.is_done():
            report(f"{stage.name}: {stage.output} is there and nothing it was made from has changed")
            continue
        anew = record.must_start_anew() and stage.name != "export"
        report(f"{stage.name}: lmcot {' '.join(stage.words)}{' --overwrite' if anew else ''}")
        record.write(done=False)
        execute(stage, anew)
        record.write(done=True)
        ran.append(stage.name)
    return ran


class _StageRecord:
    """The record of a stage from earlier runs."""

    def __init__(self, path: Path, stage: Stage) -> None:
        self._path, self._stage = path, stage
        self._strict, self._lax = stage.fingerprint(strict=True), stage.fingerprint(strict=False)
        self._known: dict[str, Any] = _read(path).get(stage.name, {})

    def is_done(self) -> bool:
        """Whether the output is there, complete, and made from exactly this."""
        same = self._known.get("made_from") == self._strict and self._known.get("done")
        return bool(same and self._known.get("output") == content_digest(self._stage.output))

    def must_start_anew(self) -> bool:
        """Whether what is there was made from something else, so that it cannot be continued."""
        return bool(self._known) and self._known.get("begun_from") != self._lax

    def write(self, *, done: bool) -> None:
        output = content_digest(self._stage.output) if done else None
        record = {"made_from": self._strict, "begun_from": self._lax, "done": done, "output": output}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        write_json(self._path, _read(self._path) | {self._stage.name: record}, CHECKPOINTS_KEPT)


def content_digest(path: Path) -> str | None:
    """Return the digest of a file, or of a folder's weights (of all its files, if it has none); None for nothing."""
    if path.is_file():
        return sha256_of(path)
    weights = {file for pattern in _WEIGHTS for file in path.rglob(pattern) if _lasts(file, path)}
    found = sorted(weights or {file for file in path.rglob("*") if file.is_file() and _lasts(file, path)})
    parts = [f"{file.relative_to(path)}\0{content_digest(file)}" for file in found]
    return sha256("\n".join(parts).encode()).hexdigest() if parts else None


def _lasts(file: Path, folder: Path) -> bool:
    return "checkpoints" not in file.relative_to(folder).parts


def _read(path: Path) -> dict[str, Any]:
    advice = "remove it, and each stage continues with what is there"
    known = read_object(path, OutputError, advice, missing_ok=True)
    if not all(isinstance(record, dict) for record in known.values()):
        raise OutputError(f"{path}: is no record of stages; {advice}")
    return known


def _check_sections(path: Path, values: Mapping[str, Any]) -> None:
    for name, section in values.items():
        if name not in STAGES:
            raise InputError(f"{path}: [{_short(name)}]: unknown section; there are {', '.join(STAGES)}")
        if not isinstance(section, dict):
            raise InputError(f"{path}: {name} must be a section: [{name}]")
    if not values:
        raise InputError(f"{path}: names no stage; write one of [{'], ['.join(STAGES)}]")


def _short(name: str) -> str:
    """Return the beginning of a name, on one line."""
    return (name if name.isprintable() else repr(name))[:_MOST_SHOWN]


def _needed(name: StageName, recipe: Recipe) -> StageName | None:
    """Return the stage whose output this one reads."""
    wanted: Mapping[StageName, tuple[StageName, ...]] = {
        "rationales": (),
        "distill": ("rationales",),
        "refine": ("distill",),
        "export": ("refine", "distill"),
    }
    found = next((stage for stage in wanted[name] if stage in recipe.sections), None)
    if wanted[name] and found is None:
        raise InputError(f"[{name}] needs [{wanted[name][-1]}] before it")
    return found


def _arguments(
    name: StageName, section: Mapping[str, Value], questions: Path, before: Path | None
) -> tuple[list[str], list[Path]]:
    """Return the arguments that follow from the order of stages, and the files that they name."""
    if name == "rationales":
        return ([], []) if "from" in section else ([str(questions)], [questions])
    assert before is not None
    if name == "refine":
        return [str(questions), "--from", str(before)], [questions, before]
    return [str(before)], [before]


def _loose(name: StageName, section: Mapping[str, Value]) -> frozenset[str]:
    """Return the options of a stage that may change without starting anew."""
    if name == "refine":
        return free_settings(decays=bool(section.get("decay")))
    return {"rationales": _FILTERS, "distill": _MEMORY}.get(name, frozenset())


def _words(section: Mapping[str, Value]) -> Iterator[str]:
    for key, value in section.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            yield option
        elif isinstance(value, dict):
            yield f"{option}={','.join(f'{ours}={theirs}' for ours, theirs in value.items())}"
        elif value is not False:
            yield from (f"{option}={one}" for one in (value if isinstance(value, list) else [value]))


def _is_path(value: str) -> bool:
    return os.path.exists(value)  # noqa: PTH110  (Path's own raises where a name is too long for a file)
