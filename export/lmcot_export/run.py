"""Export a model: merge, write, quantize, verify."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmcot_cli.errors import ModelError, OutputError, UsageError
from lmcot_export.atomic import replacing
from lmcot_export.converter import convert, find_script
from lmcot_export.gguf.adapter import write_adapter
from lmcot_export.gguf.write import PreparedModel, prepare, write_gguf
from lmcot_export.imatrix import importance_of
from lmcot_export.manifest import Ingredients, Manifest, ingredients, sha256
from lmcot_export.merge import merge, merged_bytes
from lmcot_export.options import ExportOptions, ExportReport, Output, Progress, Silent
from lmcot_export.quantize import FULL_TYPES, NEEDS_IMPORTANCE, Importance, quantize
from lmcot_export.recommend import recommend
from lmcot_export.source import Source, find_source
from lmcot_export.thresholds import parse_thresholds
from lmcot_export.weights import SafetensorsFolder

if TYPE_CHECKING:
    from lmcot_export.verify import Verification

VERIFY_FILE = "verify.json"
REJECTED = ".rejected"
_STORED = {"F32": "f32", "F64": "f32", "F16": "f16", "BF16": "bf16"}
_WIDTH = {"f32": 4, "f16": 2, "bf16": 2}


def export(options: ExportOptions, progress: Progress | None = None) -> ExportReport:
    """Export a model as the options say.

    Files are moved in place when they are complete. One that is there already, made from the very same source by the
    same versions, is used again; anything else is made anew.

    Args:
        options: What to export, and how.
        progress: Told what is being done.

    Raises:
        LmcotError: The model cannot be exported; the message says what to do. A file that fails verification is no
            error, but an output that did not pass.
    """
    if options.verify:
        parse_thresholds(options.thresholds)  # what is mistyped there is said now, not after the work
    source = find_source(options.source)
    job = _Job.start(source, options, progress or Silent())
    if options.adapter_only:
        return job.report([job.adapter()])
    model = job.merged()
    outputs = job.onnx(model) if options.format == "onnx" else job.gguf(model)
    if options.verify:
        outputs = job.verify(model, outputs)
    return job.report(outputs)


@dataclass
class _Job:
    """One export at work: what it is made of, where it goes, what was noticed on the way."""

    source: Source
    options: ExportOptions
    progress: Progress
    folder: Path
    made_of: Ingredients
    manifest: Manifest
    notes: list[str]

    @classmethod
    def start(cls, source: Source, options: ExportOptions, progress: Progress) -> _Job:
        folder = options.output or source.output
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
        progress.begin("reading the source")
        return cls(source, options, progress, folder, ingredients(source), Manifest(folder), [])

    def path(self, type: str) -> Path:
        return self.folder / f"{self.source.name}.{type}.gguf"

    def make(self, path: Path, settings: tuple[object, ...], build: Callable[[], object]) -> bool:
        """Build a file unless it is there already; return whether it was."""
        made_from = self.made_of.digest(*settings)
        if self.manifest.holds(path, made_from):
            self.notes.append(f"{path.name}: unchanged, used again")
            return True
        self.manifest.forget(path)
        build()
        self.manifest.record(path, made_from)
        self.manifest.write(self.source, self.made_of)
        return False

    def merged(self) -> Path:
        """Return the full-precision model's folder, the adapter merged in."""
        if self.source.adapter is None:
            return self.source.model
        base, adapter, target = self.source.model, self.source.adapter, self.folder / "merged"
        self.progress.begin("merging the adapter", merged_bytes(base, adapter))
        weights = target / "model.safetensors"
        self.make(weights, ("merged",), lambda: merge(base, adapter, target, self.progress.advance))
        return target

    def adapter(self) -> Output:
        """Write the LoRA adapter by itself."""
        if self.source.adapter is None:
            raise UsageError(f"--adapter-only: {self.source.model} is a whole model, without an adapter")
        base, adapter = self.source.model, self.source.adapter
        path = self.folder / f"{self.source.name}.lora.gguf"
        self.progress.begin("writing the adapter")
        reused = self.make(
            path, ("adapter",), lambda: write_adapter(base, adapter, path, name=self.source.name)
        )
        return Output(path, "lora", reused)

    def gguf(self, model: Path) -> list[Output]:
        """Write full-precision files, then quantize the widest of them."""
        wanted = self.options.wanted
        quantized = [type for type in wanted if type not in FULL_TYPES]
        exact = lossless_type(SafetensorsFolder(model))
        full = [type for type in FULL_TYPES if type in wanted or (quantized and type == exact)]
        if quantized and exact not in wanted:
            self.notes.append(
                f"{self.path(exact).name}: the full-precision file that the others are made from"
            )
        writer = self._writer(model)
        outputs = [self._full(model, type, writer) for type in full]
        importance, digest = self._importance(model, self.path(exact), quantized)
        return outputs + [self._quantized(self.path(exact), type, importance, digest) for type in quantized]

    def onnx(self, model: Path) -> list[Output]:
        """Write ONNX folders: float32 graphs, and int8 ones made from them."""
        from lmcot_export.onnx import export_onnx, quantize_onnx

        full = self.folder / f"{self.source.name}.onnx"
        small = self.folder / f"{self.source.name}.int8.onnx"
        self.progress.begin(f"writing {full.name}")
        outputs = [Output(full, "f32", self._graphs(full, lambda: export_onnx(model, full)))]
        if "int8" in self.options.wanted:
            self.progress.begin(f"quantizing {small.name}")
            outputs.append(Output(small, "int8", self._graphs(small, lambda: quantize_onnx(full, small))))
        return outputs

    def _graphs(self, folder: Path, build: Callable[[], object]) -> bool:
        """Build a folder of graphs unless every file of it is there already; return whether it was."""
        made_from = self.made_of.digest(folder.name)
        files = sorted(folder.rglob("*.onnx*"))
        if files and all(self.manifest.holds(file, made_from) for file in files):
            self.notes.append(f"{folder.name}: unchanged, used again")
            return True
        build()
        for file in sorted(folder.rglob("*.onnx*")):
            self.manifest.record(file, made_from)
        self.manifest.write(self.source, self.made_of)
        return False

    def verify(self, model: Path, outputs: list[Output]) -> list[Output]:
        """Compare every output with the source; those that fail are renamed."""
        from lmcot_export.verify import VerifyOptions, verify_each

        options = VerifyOptions(
            questions=self.options.questions,
            rows=self.options.rows,
            role=self.options.role,
            large=self.options.large,
            thresholds=parse_thresholds(self.options.thresholds),
            threads=self.options.threads,
        )
        by_path = {output.path: output for output in outputs}
        self.progress.begin("verifying: reading the source model")
        for found in verify_each(model, list(by_path), options):
            self.progress.begin(f"verified {found.exported.name}")
            by_path[found.exported] = self._judged(by_path[found.exported], found)
        verified = list(by_path.values())
        self._write_verifications([one.verification for one in verified if one.verification])
        return verified

    def report(self, outputs: list[Output]) -> ExportReport:
        """Write the manifest, draw, recommend."""
        self.manifest.write(self.source, self.made_of)
        found = [output.verification for output in outputs if output.verification]
        if self.options.plot is not None:
            from lmcot_export.verify.plot import draw

            draw(found, self.options.plot)
        chosen = recommend(outputs) if self.options.recommend else None
        return ExportReport(tuple(outputs), self.folder, chosen, tuple(self.notes))

    def _writer(self, model: Path) -> Callable[[Path, str], object]:
        """Return what writes a full-precision file: we, or the converter of a llama.cpp checkout."""
        if self.options.converter is not None:
            script = find_script(self.options.converter)
            return lambda path, type: convert(script, model, path, type)
        prepared: list[PreparedModel] = []

        def write(path: Path, type: str) -> object:
            prepared[:] = prepared or [self._prepared(model)]
            weights = SafetensorsFolder(model)
            numbers = sum(prod(weights.shape(name)) for name in weights.names)
            self.progress.begin(f"writing {path.name}", numbers * _WIDTH[type])
            advance, name = self.progress.advance, self.source.name
            return write_gguf(model, path, type, name=name, prepared=prepared[0], advance=advance)

        return write

    def _prepared(self, model: Path) -> PreparedModel:
        self.progress.begin("finding the pre-tokenizer")
        found = prepare(model)
        if found.tokenizer.caveat:
            self.notes.append(found.tokenizer.caveat)
        return found

    def _full(self, model: Path, type: str, write: Callable[[Path, str], object]) -> Output:
        path = self.path(type)
        self.progress.begin(f"writing {path.name}")
        reused = self.make(path, (type, self._converter_digest()), lambda: write(path, type))
        return Output(path, type, reused)

    def _quantized(self, full: Path, type: str, importance: Importance | None, digest: str | None) -> Output:
        path = self.path(type)
        self.progress.begin(f"quantizing {path.name}")
        settings = (type, self._converter_digest(), digest)
        threads = self.options.threads
        reused = self.make(
            path, settings, lambda: quantize(full, path, type, importance=importance, threads=threads)
        )
        return Output(path, type, reused)

    def _importance(
        self, model: Path, full: Path, quantized: list[str]
    ) -> tuple[Importance | None, str | None]:
        """Return the importance matrix, if one is asked for, and its digest."""
        if self.options.imatrix is None:
            needing = [type for type in quantized if type in NEEDS_IMPORTANCE]
            if needing:
                raise UsageError(
                    f"--quantize {needing[0]}: needs an importance matrix; name questions of your own with --imatrix"
                    " QUESTIONS"
                )
            return None, None
        if not quantized:
            raise UsageError("--imatrix: is for quantized types; name some with --quantize")
        self.progress.begin("collecting the importance matrix")
        kept = self.folder / f"{self.source.name}.imatrix.gguf"
        importance = importance_of(
            self.options.imatrix, full, kept, role=self.options.role, threads=self.options.threads
        )
        return importance, sha256(self.options.imatrix)

    def _converter_digest(self) -> str | None:
        return None if self.options.converter is None else sha256(find_script(self.options.converter))

    def _judged(self, output: Output, found: Verification) -> Output:
        """Rename what failed; take away what an earlier export had rejected under this name."""
        rejected = output.path.with_name(output.path.name + REJECTED)
        _remove(rejected)
        if found.passed:
            return replace(output, verification=found)
        self.manifest.forget(output.path)
        output.path.rename(rejected)
        return replace(output, path=rejected, verification=found)

    def _write_verifications(self, found: list[Verification]) -> None:
        """Write `verify.json`: what was found of each file of the folder, by its name."""
        path = self.folder / VERIFY_FILE
        known: dict[str, Mapping[str, Any]] = {one.exported.name: one.to_record() for one in found}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def lossless_type(weights: SafetensorsFolder) -> str:
    """Return the narrowest type that holds every matrix of a model as it is."""
    stored = {_STORED[weights.stored_type(name)] for name in weights.names if len(weights.shape(name)) > 1}
    if not stored:
        raise ModelError("the model has no weights")
    return stored.pop() if len(stored) == 1 else "f32"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
