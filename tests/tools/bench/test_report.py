"""Medians, ratios, the layout of the JSON, and the picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.errors import MissingExtraError, OutputError, UsageError
from tools.bench import plot
from tools.bench.options import ComparisonOptions
from tools.bench.plot import check_plot, draw
from tools.bench.report import ComparisonReport, Loop, Peer, Width


def width(size: int, runs: list[float], limit: list[float]) -> Width:
    outside = [0.1] * len(runs)
    return Width(
        size, runs, limit, outside, 10, {"prompt_tokens": 3}, None, 1000.0, 500.0, 2_000_000, 2_100_000
    )


@pytest.fixture
def report() -> ComparisonReport:
    model = {"spec": "m.gguf", "name": "M", "quantization": "Q4_0"}
    found = ComparisonReport(ComparisonOptions(), model, {"cores": 2}, {"lmcot": "1"})
    found.add(Loop([90.0, 110.0, 100.0], 10, 1_000_000))
    found.add(width(4, [200.0, 220.0, 210.0], [250.0, 220.0, 300.0]))
    found.add(width(16, [400.0, 500.0, 450.0], [500.0, 500.0, 500.0]))
    found.add(Peer("llama-server", "http://x", 16, Loop([150.0, 150.0, 150.0], 10, None)))
    return found


def test_rates_are_medians_and_ratios_are_of_neighbouring_runs(report: ComparisonReport) -> None:
    assert report.widths[0].tokens_per_s == 210
    assert report.widths[0].limit == 250
    assert report.widths[0].of_limit == pytest.approx(0.8)  # of 0.8, 1.0 and 0.7; 210 / 250 would be 0.84
    assert report.best is report.widths[1]
    assert report.times_high_level(450) == 4.5


def test_the_json_has_the_promised_layout(report: ComparisonReport) -> None:
    written = report.as_json()
    assert written["high_level"]["tokens_per_s"] == 100
    assert [(one["width"], one["tokens_per_s"]) for one in written["engine"]] == [(4, 210), (16, 450)]
    assert [(one["width"], one["tokens_per_s"]) for one in written["limit"]] == [(4, 250), (16, 500)]
    (peer,) = written["peers"]
    assert (peer["name"], peer["tokens_per_s"], peer["engine_times_peer"]) == ("llama-server", 150, 3)
    assert written["workload"]["prompt_tokens"] == 256
    assert {"model", "machine", "versions", "settings"} <= set(written)


def test_an_unfinished_report_has_gaps_and_no_errors() -> None:
    empty = ComparisonReport(ComparisonOptions(), {}, {}, {})
    assert empty.empty
    written = empty.as_json()
    assert (written["high_level"], written["engine"], written["limit"], written["peers"]) == (
        None,
        [],
        [],
        [],
    )


def test_the_picture_is_a_png_also_of_a_part(report: ComparisonReport, tmp_path: Path) -> None:
    partial = ComparisonReport(
        report.options, report.model, report.machine, report.versions, report.high_level
    )
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


def test_a_value_out_of_range_names_its_option() -> None:
    with pytest.raises(UsageError, match="--peer-concurrency 0"):
        ComparisonOptions(peer_concurrency=0)
