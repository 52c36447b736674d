"""`lmcot bench`: how fast this machine writes samples of a model, beside llama.cpp alone and other programs."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.bench.options import BenchOptions, Workload, parse_widths
from lmcot_cli.commands.bench_arguments import (
    DEFAULT_MODEL,
    DEFAULT_WIDTHS,
    DEFAULTS,
    AsJsonOption,
    GpuLayersOption,
    HighLevelOption,
    ModelArgument,
    NewTokensOption,
    PeerConcurrencyOption,
    PeerTransformersOption,
    PeerUrlOption,
    PlotOption,
    ProfileOption,
    PromptsOption,
    PromptTokensOption,
    Quantization,
    QuantizeOption,
    RepeatsOption,
    SamplesOption,
    Shape,
    ShapeOption,
    TemperatureOption,
    ThreadsOption,
    TopPOption,
    WidthsOption,
)
from lmcot_cli.commands.bench_report import announce, show
from lmcot_cli.errors import UsageError
from lmcot_cli.models import catalogue, embedded, hub

EPILOG = """\
[bold]Examples[/bold]

[cyan]lmcot bench model.gguf --threads 2[/cyan]  the table, for a model of yours

[cyan]lmcot bench --shape 135m --quantize q4_0 --plot rates.png[/cyan]  with no model at all

[cyan]lmcot bench model.gguf --widths 16 --peer-url http://127.0.0.1:8080[/cyan]  against a running llama-server
"""


def bench(
    model: ModelArgument = None,
    shape: ShapeOption = None,
    quantize: QuantizeOption = Quantization.Q4_0,
    widths: WidthsOption = DEFAULT_WIDTHS,
    repeats: RepeatsOption = DEFAULTS.repeats,
    threads: ThreadsOption = DEFAULTS.threads,
    gpu_layers: GpuLayersOption = DEFAULTS.gpu_layers,
    profile: ProfileOption = False,
    prompts: PromptsOption = DEFAULTS.workload.prompts,
    prompt_tokens: PromptTokensOption = DEFAULTS.workload.prompt_tokens,
    samples: SamplesOption = DEFAULTS.workload.samples,
    new_tokens: NewTokensOption = DEFAULTS.workload.new_tokens,
    temperature: TemperatureOption = DEFAULTS.workload.temperature,
    top_p: TopPOption = DEFAULTS.workload.top_p,
    high_level: HighLevelOption = DEFAULTS.high_level,
    peer_url: PeerUrlOption = None,
    peer_transformers: PeerTransformersOption = None,
    peer_concurrency: PeerConcurrencyOption = DEFAULTS.peer_concurrency,
    as_json: AsJsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure how fast samples are written here: by lmcot, by llama.cpp alone, and by other programs."""
    from lmcot_cli.bench.measure import Benchmark
    from lmcot_cli.bench.plot import check_plot

    if plot:
        check_plot(plot)
    folder = str(peer_transformers) if peer_transformers else None
    options = BenchOptions(
        workload=Workload(prompts, prompt_tokens, samples, new_tokens, temperature, top_p),
        widths=parse_widths(widths),
        repeats=repeats,
        threads=threads,
        gpu_layers=gpu_layers,
        high_level=high_level,
        profile=profile,
        peer_url=peer_url,
        peer_transformers=folder,
        peer_concurrency=peer_concurrency,
    )
    path = _model_file(model, shape, quantize)
    benchmark = Benchmark(path, model or path.stem, options)
    try:
        benchmark.run(announce)
    finally:  # after an error or Ctrl-C too: what was measured by then
        show(benchmark.report, as_json=as_json, plot=plot)


def _model_file(model: str | None, shape: Shape | None, quantization: Quantization) -> Path:
    """Find the file to measure, or make it.

    Raises:
        UsageError: A model and a shape are both given.
        ModelError: There is no such model.
    """
    if shape is None:
        return _locate(model or DEFAULT_MODEL)
    if model is not None:
        raise UsageError(f"{model} and --shape {shape.value}: name a model or have one made, not both")
    from lmcot_cli.bench.shapes import random_model

    return random_model(shape.value, quantization.value)


def _locate(spec: str) -> Path:
    entry = catalogue.find(spec)
    named = entry.spec if entry else spec
    if named.startswith(embedded.SCHEME):
        return embedded.path_of(named)
    if named.startswith(hub.SCHEME):
        return hub.download(hub.parse(named))
    return Path(named.removeprefix("gguf:"))
