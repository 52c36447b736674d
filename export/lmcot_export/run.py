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
from lmcot_cli.files import hex_digest, write_json
from lmcot_export.converter import convert, find_script
from lmcot_export.gguf.adapter import write_adapter
from lmcot_export.gguf.shapes import check_weights
from lmcot_export.gguf.write import PreparedModel, prepare, write_gguf
from lmcot_export.imatrix import importance_of
from lmcot_export.manifest import (
    REJECTED,
    UNVERIFIED,
    Ingredients,
    Manifest,
    ingredients,
    suffixed,
)
from lmcot_export.merge import merge
from lmcot_export.options import FULL_TYPES, ExportOptions
from lmcot_export.outcome import ExportReport, Output
from lmcot_export.progress import ExportProgress, SilentProgress
from lmcot_export.quantize import NEEDS_IMPORTANCE, Importance, quantize
from lmcot_export.recommend import recommend
from lmcot_export.source import ExportSource, find_source
from lmcot_export.thresholds import parse_thresholds
from lmcot_export.weights import SafetensorsFolder

if TYPE_CHECKING:
    from lmcot_export.verify import Verification

VERIFY_FILE = "verify.json"
_STORED = {"F32": "f32", "F64": "f32", "F16": "f16", "BF16": "bf16"}
_WIDTH = {"f32": 4, "f16": 2, "bf16": 2}


def export(options: ExportOptions, progress: ExportProgress | None = None) -> ExportReport:
    """Export a model as the options say.

    A file takes its name once it is complete and, unless verification is off, verified. A file that an earlier export
    made from the same source with the same versions is used again, and its other files are made anew. Files that no
    export wrote are left alone.

    Args:
        options: What to export, and how.
        progress: Told what is being done.

    Raises:
        LmcotError: The model cannot be exported; the message says what to do. A file that fails verification is not
            an error: the report says so.
    """
    if options.verify:
        parse_thresholds(options.thresholds)  # reports typing errors before the work, not after it
    source = find_source(options.source)
    source.check()
    job = _ExportJob.start(source, options, progress or SilentProgress())
    if options.adapter_only:
        return job.report([job.adapter()])
    if options.converter is None:
        check_weights(source.model)
    if options.verify:
        job.claim(job.folder / VERIFY_FILE)
    model = job.merged()
    outputs = job.onnx(model) if options.format == "onnx" else job.gguf(model)
    if options.verify:
        outputs = job.verify(model, outputs)
    return job.report(outputs)


@dataclass
class _ExportJob:
    """An export in progress: its ingredients, its folder, and notes for the user."""

    source: ExportSource
    options: ExportOptions
    progress: ExportProgress
    folder: Path
    made_of: Ingredients
    manifest: Manifest
    notes: list[str]

    @classmethod
    def start(cls, source: ExportSource, options: ExportOptions, progress: ExportProgress) -> _ExportJob:
        folder = options.output or source.output
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
        progress.begin("reading the source")
        return cls(source, options, progress, folder, ingredients(source), Manifest(folder), [])

    def claim(self, *paths: Path) -> None:
        """Refuse to replace files that no export wrote."""
        for path in paths:
            self.manifest.claim(path)

    def path(self, type: str) -> Path:
        return self.folder / f"{self.source.name}.{type}.gguf"

    def build(self, path: Path, made_from: str, write: Callable[[Path], object]) -> None:
        """Write a file or folder, which the manifest lists before it is begun."""
        self.manifest.begin(path)
        self.save_manifest()
        write(path)
        self.manifest.record(path, made_from)
        self.save_manifest()

    def make(self, path: Path, settings: tuple[object, ...], write: Callable[[Path], object]) -> bool:
        """Write a file that is not verified, unless it is there already; return whether it was."""
        made_from = self.made_of.digest(*settings)
        if self.manifest.holds(path, made_from):
            self.notes.append(f"{path.name}: unchanged, used again")
            return True
        self.build(path, made_from, write)
        return False

    def output(
        self, path: Path, type: str, settings: tuple[object, ...], write: Callable[[Path], object]
    ) -> Output:
        """Return an output, written unless it is there already; it has another name until it is verified."""
        made_from = self.made_of.digest(*settings)
        waiting = suffixed(path, UNVERIFIED)
        place = waiting if self.options.verify else path
        for kept in (path, waiting):
            if self.manifest.holds(kept, made_from):
                self.notes.append(f"{path.name}: unchanged, used again")
                stays = kept == path and self.manifest.is_verified(path)
                return Output(path if stays else self.move(kept, place), type, reused=True)
        self.remove(path)
        self.remove(waiting)
        self.build(place, made_from, write)
        return Output(place, type, reused=False)

    def move(self, old: Path, new: Path) -> Path:
        """Give an output another name, and return that."""
        if old != new:
            self.remove(new)
            old.rename(new)
            self.manifest.rename(old, new)
            self.save_manifest()
        return new

    def remove(self, path: Path) -> None:
        """Remove what an earlier export left under a name."""
        self.manifest.forget(path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def save_manifest(self) -> None:
        """Write `manifest.json`."""
        self.manifest.write(self.source, self.made_of)

    def merged(self) -> Path:
        """Return the folder of the full-precision model, with the adapter merged into it."""
        if self.source.adapter is None:
            return self.source.model
        base, adapter, target = self.source.model, self.source.adapter, self.folder / "merged"
        if target.resolve() in (base.resolve(), adapter.resolve()):
            raise OutputError(
                f"{target}: the merged model would overwrite the one it is made from; choose another -o"
            )
        self.claim(target)
        self.progress.begin("merging the adapter")
        self.make(target, ("merged",), lambda place: merge(base, adapter, place))
        return target

    def adapter(self) -> Output:
        """Write the LoRA adapter by itself."""
        if self.source.adapter is None:
            raise UsageError(f"--adapter-only: {self.source.model} is a whole model, without an adapter")
        base, adapter = self.source.model, self.source.adapter
        path = self.folder / f"{self.source.name}.lora.gguf"
        self.claim(path)
        self.progress.begin("writing the adapter")
        name = self.source.name
        reused = self.make(path, ("adapter",), lambda place: write_adapter(base, adapter, place, name=name))
        return Output(path, "lora", reused)

    def gguf(self, model: Path) -> list[Output]:
        """Write full-precision files, then quantize the widest of them."""
        wanted = self.options.wanted
        quantized = [type for type in wanted if type not in FULL_TYPES]
        exact = lossless_type(SafetensorsFolder(model))
        full = [type for type in FULL_TYPES if type in wanted or (quantized and type == exact)]
        if quantized and exact not in wanted:
            self.notes.append(
                f"{self.path(exact).name}: the full-precision file that the others are made from, kept to make more"
                " types quickly"
            )
        self.claim(*(self.path(type) for type in (*full, *quantized)))
        writer = self._writer(model)
        outputs = {type: self._full(type, writer) for type in full}
        widest = outputs[exact].path if quantized else self.path(exact)
        importance, digest = self._importance(widest, quantized)
        smaller = [self._quantized(widest, type, importance, digest) for type in quantized]
        return [*outputs.values(), *smaller]

    def onnx(self, model: Path) -> list[Output]:
        """Write ONNX folders: float32 graphs, and int8 ones made from them."""
        from lmcot_export.onnx import export_onnx, quantize_onnx

        full = self.folder / f"{self.source.name}.onnx"
        small = self.folder / f"{self.source.name}.int8.onnx"
        wanted = {"f32": full, "int8": small} if "int8" in self.options.wanted else {"f32": full}
        self.claim(*wanted.values())
        self.progress.begin(f"writing {full.name}")
        outputs = [self.output(full, "f32", (full.name,), lambda place: export_onnx(model, place))]
        if "int8" in wanted:
            graphs = outputs[0].path
            self.progress.begin(f"quantizing {small.name}")
            outputs.append(
                self.output(small, "int8", (small.name,), lambda place: quantize_onnx(graphs, place))
            )
        return outputs

    def verify(self, model: Path, outputs: list[Output]) -> list[Output]:
        """Compare every output with the source, and rename those that fail."""
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
            self.progress.begin(f"verified {found.exported.name.removesuffix(UNVERIFIED)}")
            by_path[found.exported] = self._judged(by_path[found.exported], found)
        verified = list(by_path.values())
        self._write_verifications([one.verification for one in verified if one.verification])
        return verified

    def report(self, outputs: list[Output]) -> ExportReport:
        """Write the manifest, draw the plot and choose the recommended type."""
        self.save_manifest()
        found = [output.verification for output in outputs if output.verification]
        if self.options.plot is not None:
            from lmcot_export.verify.plot import draw

            draw(found, self.options.plot)
        chosen = recommend(outputs) if self.options.recommend else None
        return ExportReport(tuple(outputs), self.folder, chosen, tuple(self.notes))

    def _writer(self, model: Path) -> Callable[[Path, str], object]:
        """Return the function that writes a full-precision file: ours, or a llama.cpp checkout's converter."""
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

    def _full(self, type: str, write: Callable[[Path, str], object]) -> Output:
        path = self.path(type)
        self.progress.begin(f"writing {path.name}")
        output = self.output(path, type, (type, self._converter_digest()), lambda place: write(place, type))
        return replace(output, wanted=type in self.options.wanted)

    def _quantized(self, full: Path, type: str, importance: Importance | None, digest: str | None) -> Output:
        path = self.path(type)
        self.progress.begin(f"quantizing {path.name}")
        settings = (type, self._converter_digest(), digest)
        threads = self.options.threads
        return self.output(
            path,
            type,
            settings,
            lambda place: quantize(full, place, type, importance=importance, threads=threads),
        )

    def _importance(self, full: Path, quantized: list[str]) -> tuple[Importance | None, str | None]:
        """Return the importance matrix and its digest; None for both without `--imatrix`."""
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
        collects = self.options.imatrix.suffix != ".gguf"
        if collects:
            self.claim(kept)
            self.manifest.begin(kept)
            self.save_manifest()
        importance = importance_of(
            self.options.imatrix, full, kept, role=self.options.role, threads=self.options.threads
        )
        digest = hex_digest(self.options.imatrix)
        if collects:
            self.manifest.record(kept, digest)
        return importance, digest

    def _converter_digest(self) -> str | None:
        return None if self.options.converter is None else hex_digest(find_script(self.options.converter))

    def _judged(self, output: Output, found: Verification) -> Output:
        """Rename an output by its verdict: passed, rejected, or still unverified if the verdict is open."""
        path = output.path.with_name(output.path.name.removesuffix(UNVERIFIED))
        output = replace(
            output,
            verification=replace(found, exported=path),
            may_be_inconclusive=self.options.allow_inconclusive,
        )
        rejected, waiting = suffixed(path, REJECTED), suffixed(path, UNVERIFIED)
        self.remove(rejected)
        if found.passed:
            self.manifest.mark_verified(output.path)
        elsewhere = rejected if found.verdict == "failed" else waiting
        return replace(output, path=self.move(output.path, path if output.passed else elsewhere))

    def _write_verifications(self, found: list[Verification]) -> None:
        """Write `verify.json`: the verification of each file, by its name."""
        known: dict[str, Mapping[str, Any]] = {one.exported.name: one.to_record() for one in found}
        made_from = self.made_of.digest(json.dumps(known))
        self.build(self.folder / VERIFY_FILE, made_from, lambda path: write_json(path, known))


def lossless_type(weights: SafetensorsFolder) -> str:
    """Return the narrowest type that holds every matrix of a model as it is."""
    stored = {_STORED[weights.stored_type(name)] for name in weights.names if len(weights.shape(name)) > 1}
    if not stored:
        raise ModelError("the model has no weights")
    return stored.pop() if len(stored) == 1 else "f32"
