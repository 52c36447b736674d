"""The run: every part after the other, each on the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lmcot_cli.bench import server, transformers_model
from lmcot_cli.bench.machine import machine, versions
from lmcot_cli.bench.options import BenchOptions
from lmcot_cli.bench.process import run_part
from lmcot_cli.bench.prompts import LoadedModel, prepare
from lmcot_cli.bench.report import BenchReport, Loop, Peer, Width
from lmcot_cli.bench.server import LlamaServer
from lmcot_cli.model_files.gguf_header import read_header


class Benchmark:
    """A model and prompts that are ready to be measured.

    Args:
        path: The GGUF file.
        spec: What the user called it.
        options: What to measure.

    Attributes:
        report: What has been measured so far.

    Raises:
        ModelError: The model cannot be loaded, or a peer is not there.
        UsageError: The workload does not fit the model.
        MissingExtraError: `--peer-transformers` without torch.
    """

    def __init__(self, path: Path, spec: str, options: BenchOptions) -> None:
        self._path = path
        self._options = options
        loaded, prompts = prepare(path, options.workload, options.repeats)
        self._texts = [[prompt.text for prompt in repeat] for repeat in prompts]
        self._ids = [[prompt.ids for prompt in repeat] for repeat in prompts]
        self._server = server.find_server(options.peer_url, loaded) if options.peer_url else None
        if options.peer_transformers:
            transformers_model.check_folder(options.peer_transformers)
        self.report = BenchReport(options, _facts(path, spec, loaded), machine(), versions())

    def run(self, say: Callable[[str], None]) -> None:
        """Measure everything; what was found is in `report` at once, also if this ends early.

        Args:
            say: Told what is measured next.

        Raises:
            ModelError: A part failed.
        """
        parts = list(self._parts())
        for number, (title, part) in enumerate(parts, start=1):
            say(f"{title} ({number} of {len(parts)})")
            self.report.add(part())

    def _parts(self) -> Iterator[tuple[str, Callable[[], Loop | Width | Peer]]]:
        options = self._options
        if options.high_level:
            yield "llama-cpp-python, one sample after another", self._high_level
        for width in options.widths:
            yield f"lmcot and the bare limit, width {width}", partial(self._engine, width)
        if self._server is not None:
            yield f"llama-server at {self._server.url}", partial(self._llama_server, self._server)
        if options.peer_transformers:
            folder = str(options.peer_transformers)
            yield f"transformers, {folder}", partial(self._transformers, folder)

    def _high_level(self) -> Loop:
        return Loop(**run_part("high_level", self._shared() | {"path": str(self._path)} | self._layers()))

    def _engine(self, width: int) -> Width:
        own = {
            "path": str(self._path),
            "texts": self._texts,
            "width": width,
            "profile": self._options.profile,
        }
        return Width(**run_part("engine", self._shared() | own | self._layers()))

    def _llama_server(self, found: LlamaServer) -> Peer:
        concurrency = self._options.peer_concurrency
        measured = server.measure_server(found, self._ids, self._options.workload, concurrency)
        return Peer(server.NAME, found.url, concurrency, Loop(**measured))

    def _transformers(self, folder: str) -> Peer:
        concurrency = self._options.peer_concurrency
        own = {"folder": folder, "concurrency": concurrency}
        measured = Loop(**run_part("transformers", self._shared() | own))
        return Peer(transformers_model.NAME, folder, concurrency, measured)

    def _shared(self) -> dict[str, Any]:
        options = self._options
        return {"workload": asdict(options.workload), "ids": self._ids, "threads": options.threads}

    def _layers(self) -> dict[str, Any]:
        return {"gpu_layers": self._options.gpu_layers}


def _facts(path: Path, spec: str, loaded: LoadedModel) -> dict[str, Any]:
    header = read_header(path)
    return {
        "spec": spec,
        "name": header.name,
        "architecture": header.architecture,
        "quantization": header.quantization,
        "file_bytes": path.stat().st_size,
        **asdict(loaded),
    }
