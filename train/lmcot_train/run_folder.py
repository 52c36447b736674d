"""The folder that a training command writes: what it holds, how it is begun, continued and finished.

    RUN/run.json        what was trained, from what, with which settings (see `RunRecord`)
    RUN/adapter/        the LoRA adapter with the tokenizer's files; or
    RUN/model/          all weights with the tokenizer's files (--full)
    RUN/metrics.jsonl   one object per logged step
    RUN/curves.png      the same as a picture
    RUN/checkpoints/    what a killed run continues from
    RUN/samples.jsonl   texts to read, written by `lmcot train refine`

Of several processes that train together only the first opens the folder for writing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from lmcot_cli import files, installation
from lmcot_cli.errors import InputError, OutputError
from lmcot_cli.files import lock, write_json
from lmcot_cli.installation import versions
from lmcot_cli.pipeline.run_file import differing, now

FORMAT = 1
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate")
_COMPARED = ("kind", "base_digest", "base_settings_digest", "parent")
CHECKPOINTS_KEPT = "the checkpoints so far are kept: mend that and run the same command again"
INSTEAD = "choose another -o, or start it anew with --overwrite"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of `run.json`.

    Attributes:
        kind: The command that trained.
        base: The untrained model: an absolute folder or a hub id.
        base_digest: SHA-256 of the base's weights (`sha256:...`).
        settings: Everything that changes what is learned; a resume must have the same.
        seeds: The seeds, by what they seed.
        data: SHA-256 of each file that was learned from, by its name.
        adapter: Name of the adapter's folder in the run; None where all weights were trained.
        parent: The run that this one started from; None for a first one.
        started: Start of the first session, ISO 8601 with time zone, as is `ended`.
        base_settings_digest: SHA-256 of what else of the base is loaded: config.json, tokenizer, templates. None where
            an earlier version began the run, and for a GGUF file, which has weights only.
    """

    kind: Literal["distill", "refine"]
    base: str
    base_digest: str
    settings: Json
    seeds: Mapping[str, int]
    data: Mapping[str, str]
    adapter: str | None = "adapter"
    parent: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=lambda: versions(*PACKAGES))
    machine: Json = field(default_factory=lambda: machine())
    started: str = field(default_factory=now)
    ended: str | None = None
    finished: bool = False
    results: Json = field(default_factory=dict)
    base_settings_digest: str | None = None

    @classmethod
    def of(cls, record: Json) -> Self:
        """Read what `to_json` returned; raises KeyError, TypeError or ValueError for anything else."""
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}")
        return cls(**{key: value for key, value in record.items() if key != "format"})

    def to_json(self) -> dict[str, Any]:
        """Return the record as the file holds it."""
        return {"format": FORMAT, **asdict(self)}

    def differences(self, other: RunRecord) -> list[str]:
        """Return what the run `other` does differently, as `name old -> new`."""
        then, current = self._compared(), other._compared()
        if self.base_settings_digest is None:  # an earlier version did not record it
            current["base_settings_digest"] = None
        return differing(then, current)

    def _compared(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in _COMPARED}
        seeds = {f"seed of {name}": value for name, value in self.seeds.items()}
        return named | dict(self.settings) | seeds | dict(self.data)


class RunFolder:
    """A run folder, which need not exist; see the module for what it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.adapter, self.model = path / "adapter", path / "model"
        self.metrics, self.curves = path / "metrics.jsonl", path / "curves.png"
        self.checkpoints, self.samples = path / "checkpoints", path / "samples.jsonl"
        self._file = path / "run.json"

    def read(self) -> RunRecord:
        """Read what was trained here.

        Raises:
            InputError: There is no run, or its file cannot be read.
        """
        try:
            return RunRecord.of(json.loads(self._file.read_bytes()))
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path}: is no run of lmcot: give the folder that lmcot train distill or refine wrote"
            ) from error
        except OSError as error:
            raise InputError(f"{self._file}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{self._file}: is no run file of this version of lmcot ({error})") from error

    def read_finished(self) -> RunRecord:
        """Read what was trained here, to start from it.

        Raises:
            InputError: There is no run, or it is not finished.
        """
        record = self.read()
        if not record.finished:
            raise InputError(f"{self.path}: this run is not finished: run its command again to continue it")
        return record

    @contextmanager
    def opened(self, record: RunRecord, *, overwrite: bool = False) -> Iterator[RunRecord]:
        """Begin or continue a run; no other process can write to it meanwhile.

        Args:
            record: The run; nothing is changed where there is another one.
            overwrite: Remove what an earlier run left first.

        Yields:
            The record of the folder: that of an earlier session, if there was one. `finished` means that nothing is
            left to do.

        Raises:
            OutputError: The folder holds another run or something else, is in use, or cannot be written.
        """
        with self._locked():
            if overwrite:
                self._remove()
            kept = record if overwrite else self._kept(record)
            if not kept.finished:
                self.write(replace(kept, ended=None))
            yield kept

    def finish(self, record: RunRecord, results: Json) -> None:
        """Record that the training is finished, and its results."""
        self.write(replace(record, ended=now(), finished=True, results=results))

    def write(self, record: RunRecord) -> None:
        """Write the run file, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        write_json(self._file, record.to_json(), CHECKPOINTS_KEPT)

    def _kept(self, record: RunRecord) -> RunRecord:
        if not self._file.is_file():
            if any(self.path.iterdir()):
                raise OutputError(f"{self.path}: holds something other than a run: {INSTEAD}")
            return record
        kept = self.read()
        if differences := kept.differences(record):
            raise OutputError(
                f"{self.path}: was begun with other settings ({'; '.join(differences)}): {INSTEAD}"
            )
        return kept

    def _remove(self) -> None:
        """Remove the parts of a run, and nothing else."""
        for folder in (self.adapter, self.model, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.metrics, self.curves, self.samples, self._file):
            file.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be made: {error.strerror}; choose another -o") from error
        try:
            lock(descriptor, self.path, "trains into it")
            yield
        finally:
            os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error that says that a file of a run cannot be written, and what is kept."""
    return files.cannot_write(path, error, CHECKPOINTS_KEPT)


def append_records(path: Path, records: Iterable[Json], *, anew: bool = False) -> None:
    """Append records to a JSONL file of a run, or replace its content.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        with path.open("w" if anew else "a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    except OSError as error:
        raise cannot_write(path, error) from error


def is_first_process() -> bool:
    """Whether this process writes and reports, of those that a launcher started to train together."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """Return how many processes a launcher started to train together; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def machine() -> dict[str, Any]:
    """Return what the speed of a run depends on."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {**installation.machine(), "threads": torch.get_num_threads(), "gpus": gpus}
