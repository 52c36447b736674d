"""Medians, ratios, the layout of the JSON, and the picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.bench import plot
from lmcot_cli.bench.options import BenchOptions, Workload
from lmcot_cli.bench.plot import check_plot, draw
from lmcot_cli.bench.report import BenchReport, Loop, Peer, Width, half_range
from lmcot_cli.errors import MissingExtraError, OutputError, UsageError
from lmcot_cli.settings.declaration import build


def width(size: int, runs: list[float], limit: list[float]) -> Width:
    outside = [0.1] * len(runs)
    return Width(
        size, runs, limit, outside, 10, {"prompt_tokens": 3}, None, 1000.0, 500.0, 2_000_000, 2_100_000
    )


@pytest.fixture
def report() -> BenchReport:
    model = {"spec": "m.gguf", "name": "M", "quantization": "Q4_0"}
    found = BenchReport(BenchOptions(), model, {"cores": 2}, {"lmcot": "1"})
    found.add(Loop([90.0, 110.0, 100.0], 10, 1_000_000))
    found.add(width(4, [200.0, 220.0, 210.0], [250.0, 220.0, 300.0]))
    found.add(width(16, [400.0, 500.0, 450.0], [500.0, 500.0, 500.0]))
    found.add(Peer("llama-server", "http://x", 16, Loop([150.0, 150.0, 150.0], 10, None)))
    return found


def test_rates_are_medians_and_ratios_are_of_neighbouring_runs(report: BenchReport) -> None:
    assert report.widths[0].tokens_per_s == 210
    assert report.widths[0].limit == 250
    assert report.widths[0].of_limit == pytest.approx(0.8)  # of 0.8, 1.0 and 0.7; 210 / 250 would be 0.84
    assert report.best is report.widths[1]
    assert report.times_high_level(450) == 4.5


def test_the_spread_is_half_the_range() -> None:
    assert half_range([90.0, 100.0, 110.0]) == pytest.approx(0.1)
    assert half_range([5.0]) == 0


def test_the_json_has_the_promised_layout(report: BenchReport) -> None:
    written = report.as_json()
    assert written["high_level"]["tokens_per_s"] == 100
    assert [(one["width"], one["tokens_per_s"]) for one in written["engine"]] == [(4, 210), (16, 450)]
    assert [(one["width"], one["tokens_per_s"]) for one in written["limit"]] == [(4, 250), (16, 500)]
    (peer,) = written["peers"]
    assert (peer["name"], peer["tokens_per_s"], peer["engine_times_peer"]) == ("llama-server", 150, 3)
    assert written["workload"]["prompt_tokens"] == 256
    assert {"model", "machine", "versions", "settings"} <= set(written)


def test_an_unfinished_report_has_gaps_and_no_errors() -> None:
    empty = BenchReport(BenchOptions(), {}, {}, {})
    assert empty.empty
    written = empty.as_json()
    assert (written["high_level"], written["engine"], written["limit"], written["peers"]) == (
        None,
        [],
        [],
        [],
    )


def test_the_picture_is_a_png_also_of_a_part(report: BenchReport, tmp_path: Path) -> None:
    partial = BenchReport(report.options, report.model, report.machine, report.versions, report.high_level)
    for name, one in {"a.png": report, "b.png": partial}.items():
        check_plot(tmp_path / name)
        draw(one, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png"):
        check_plot(tmp_path / "a.pdf")
    with pytest.raises(OutputError, match="folder does not exist"):
        check_plot(tmp_path / "none" / "a.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"lmcot\[plot\]"):
        plot.check_plot(tmp_path / "a.png")


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
        (lambda: BenchOptions(peer_concurrency=0), "--peer-concurrency 0"),
        (lambda: build(BenchOptions, {"widths": "1,x"}), "--widths '1,x'"),
    ],
)
def test_values_out_of_range_name_their_option(wrong: object, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        wrong()  # type: ignore[operator]
    assert str(caught.value).startswith(option)


def test_widths_are_sorted_and_measured_once() -> None:
    assert build(BenchOptions, {"widths": "16,1, 4,4"}).widths == (1, 4, 16)
