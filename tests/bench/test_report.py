"""Medians, the recommended width, the layout of the JSON, and the options."""

from __future__ import annotations

import pytest

from lmcot_cli.bench.options import BenchOptions, Workload
from lmcot_cli.bench.report import BenchReport, ModelRates, WidthRates, half_range
from lmcot_cli.errors import UsageError
from lmcot_cli.settings.declaration import build


def width(size: int, *runs: float) -> WidthRates:
    return WidthRates(size, list(runs), 1000.0, 2_000_000, 2_100_000)


def rates(*widths: WidthRates) -> ModelRates:
    return ModelRates({"spec": "m.gguf", "quantization": "Q4_0"}, list(widths))


def test_the_rate_is_the_median_of_the_repeats() -> None:
    assert width(4, 200.0, 260.0, 210.0).tokens_per_s == 210


def test_the_narrowest_of_nearly_equal_widths_is_recommended() -> None:
    found = rates(width(1, 100.0), width(8, 194.0), width(16, 195.0), width(32, 200.0))
    assert found.recommended is found.widths[1]  # 194 is 97% of the best rate
    assert rates(width(1, 100.0), width(8, 189.0), width(32, 200.0)).recommended == width(32, 200.0)
    assert rates().recommended is None


def test_the_spread_is_half_the_range() -> None:
    assert half_range([90.0, 100.0, 110.0]) == pytest.approx(0.1)
    assert half_range([5.0]) == 0


def test_the_json_has_the_promised_layout() -> None:
    found = BenchReport(
        BenchOptions(), {"cores": 2}, {"lmcot": "1"}, [rates(width(4, 210.0), width(16, 450.0)), rates()]
    )
    written = found.as_json()
    assert written.keys() == {"machine", "versions", "workload", "settings", "models"}
    assert written["workload"]["prompt_tokens"] == 256
    assert written["settings"].keys() == {"widths", "repeats", "threads", "gpu_layers"}
    (model,) = written["models"]  # of the other one nothing was measured
    assert (model["spec"], model["recommended_width"]) == ("m.gguf", 16)
    assert [(one["width"], one["tokens_per_s"]) for one in model["widths"]] == [(4, 210), (16, 450)]


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        (lambda: Workload(samples=0), "--samples 0"),
        (lambda: Workload(prompt_tokens=0), "--prompt-tokens 0"),
        (lambda: Workload(temperature=-1), "--temperature -1"),
        (lambda: Workload(top_p=0), "--top-p 0"),
        (lambda: BenchOptions(widths=(0,)), "--widths: 0"),
        (lambda: BenchOptions(widths=(1000,)), "--widths: 1000"),
        (lambda: BenchOptions(repeats=0), "--repeats 0"),
        (lambda: BenchOptions(threads=0), "--threads 0"),
        (lambda: build(BenchOptions, {"widths": "1,x"}), "--widths '1,x'"),
    ],
)
def test_values_out_of_range_name_their_option(wrong: object, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        wrong()  # type: ignore[operator]
    assert str(caught.value).startswith(option)


def test_widths_are_sorted_and_measured_once() -> None:
    assert build(BenchOptions, {"widths": "16,1, 4,4"}).widths == (1, 4, 16)
