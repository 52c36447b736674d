"""The run: every model at every width, on the same number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmcot_cli.bench.machine import machine, versions
from lmcot_cli.bench.options import BenchOptions
from lmcot_cli.bench.process import run_part
from lmcot_cli.bench.prompts import LoadedModel, prepare
from lmcot_cli.bench.report import BenchReport, ModelRates, WidthRates
from lmcot_cli.model_files.gguf_header import read_header

ENGINE = "lmcot_cli.bench.engine:measure_engine"


class Benchmark:
    """Models and prompts that are ready to be measured.

    Args:
        models: The GGUF files, by what the user called them.
        options: What to measure.

    Attributes:
        report: What has been measured so far.

    Raises:
        ModelError: A model cannot be loaded.
        UsageError: The workload does not fit a model.
    """

    def __init__(self, models: Mapping[str, Path], options: BenchOptions) -> None:
        self._options = options
        self._paths = list(models.values())
        prepared = [prepare(path, options.workload, options.repeats) for path in self._paths]
        self._texts = [[[one.text for one in repeat] for repeat in prompts] for _, prompts in prepared]
        rates = [
            ModelRates(model_facts(path, spec, loaded))
            for (spec, path), (loaded, _) in zip(models.items(), prepared, strict=True)
        ]
        self.report = BenchReport(options, machine(), versions(), rates)

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything; each finding is in `report` at once, also if this ends early.

        Args:
            say: Told what is measured next.

        Raises:
            ModelError: A model could not be measured.
        """
        for path, texts, rates in zip(self._paths, self._texts, self.report.models, strict=True):
            for width in self._options.widths:
                say(f"{rates.model['spec']}, width {width}")
                rates.widths.append(self._measure(path, texts, width))

    def _measure(self, path: Path, texts: list[list[str]], width: int) -> WidthRates:
        options = self._options
        arguments = {
            "path": str(path),
            "workload": asdict(options.workload),
            "texts": texts,
            "width": width,
            "threads": options.threads,
            "gpu_layers": options.gpu_layers,
        }
        return WidthRates(**run_part(ENGINE, arguments))


def model_facts(path: Path, spec: str, loaded: LoadedModel) -> dict[str, Any]:
    """Return what is known of a model, ready for JSON."""
    header = read_header(path)
    return {
        "spec": spec,
        "name": header.name,
        "architecture": header.architecture,
        "quantization": header.quantization,
        "file_bytes": path.stat().st_size,
        **asdict(loaded),
    }
