"""`lmcot answer` with an endpoint, as a user sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lmcot_cli.main import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"q{i}", "question": f"Where is {i}?", "context": "Here."} for i in range(4)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def lmcot(*words: str) -> Any:
    return CliRunner().invoke(app, ["answer", "q.jsonl", "--method", "standard", *words])


def test_rows_are_answered_and_the_run_file_names_the_endpoint(
    folder: Path, serve: Callable[..., Any]
) -> None:
    url = serve(choices=8).url
    result = lmcot("--large", f"{url}#m", "-o", "out.jsonl", "--samples", "3", "--max-in-flight", "2")
    records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert result.exit_code == 0
    assert [record["id"] for record in records] == ["q0", "q1", "q2", "q3"]
    assert all(len({sample["answer"] for sample in record["samples"]}) == 3 for record in records)
    assert json.loads((folder / "out.jsonl.run.json").read_text())["settings"]["large"] == f"{url}#m"


def test_the_run_file_holds_the_endpoint_s_settings_and_no_resume_is_refused_for_them(
    folder: Path, serve: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("sk-1234")
    words = ("--large", f"{serve().url}#m", "-o", "out.jsonl", "--key-command", f"cat {tmp_path / 'key'}")
    assert lmcot(*words, "--limit", "2", "--rpm", "600").exit_code == 0
    assert lmcot(*words, "--rpm", "900", "--request-timeout", "7").exit_code == 0
    endpoint = json.loads((folder / "out.jsonl.run.json").read_text())["endpoint"]
    assert (endpoint["rpm"], endpoint["request_timeout"], endpoint["max_in_flight"]) == (900, 7.0, 256)
    assert "key_command" not in endpoint
    assert len((folder / "out.jsonl").read_text().splitlines()) == 4


def test_a_resume_with_another_api_is_refused(folder: Path, serve: Callable[..., Any]) -> None:
    words = ("--large", f"{serve().url}#m", "-o", "out.jsonl")
    assert lmcot(*words, "--limit", "2", "--endpoint-api", "chat").exit_code == 0
    refused = lmcot(*words, "--endpoint-api", "completions")
    assert refused.exit_code == 1
    assert "(endpoint_api chat -> completions)" in refused.stderr
    assert lmcot(*words, "--endpoint-api", "chat").exit_code == 0


def test_a_resume_with_other_fields_in_the_requests_is_refused(
    folder: Path, serve: Callable[..., Any]
) -> None:
    words = ("--large", f"{serve().url}#m", "-o", "out.jsonl")
    assert lmcot(*words, "--limit", "2", "--request-field", "top_k=5").exit_code == 0
    refused = lmcot(*words, "--request-field", "top_k=6")
    assert refused.exit_code == 1
    assert "(request_fields top_k=5 -> top_k=6)" in refused.stderr
    assert lmcot(*words).exit_code == 1
    assert lmcot(*words, "--request-field", "top_k=5").exit_code == 0


def test_a_field_that_is_no_json_is_one_line_that_names_the_option(folder: Path) -> None:
    result = lmcot("--large", "http://127.0.0.1:1/v1#m", "--request-field", "reasoning_effort=low")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: --request-field reasoning_effort=low: the value is no JSON;"
        " a string is written reasoning_effort='\"low\"'"
    ]


@pytest.mark.parametrize(("words", "told"), [([], 2), (["--json"], 1), (["-o", "out.jsonl"], 1)])
def test_the_endpoints_words_are_told_beside_the_results_but_once_where_records_are_asked_for(
    folder: Path, answering: Callable[..., str], words: list[str], told: int
) -> None:
    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if b"Where is 2" in body:
            return 200, {}, b'{"error": {"code": 400, "message": "context of 4096 exceeded"}}'
        return 200, {}, b'{"choices": [{"message": {"content": "Lyon"}, "finish_reason": "stop"}]}'

    result = lmcot("--large", f"{answering(answer)}#m", *words)
    assert result.exit_code == 1
    assert (result.stdout + result.stderr).count("context of 4096 exceeded") == told
    assert "1 failed" in result.stderr


def test_fields_may_stand_in_the_settings_file(folder: Path, answering: Callable[..., str]) -> None:
    asked = list[bytes]()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked.append(body)
        return 200, {}, b'{"choices": [{"message": {"content": "Lyon"}, "finish_reason": "stop"}]}'

    (folder / "lmcot.toml").write_text("[answer]\nrequest_fields = ['top_k=5']\n")
    assert lmcot("--large", f"{answering(answer)}#m", "--config", "lmcot.toml").exit_code == 0
    assert all(b'"top_k":5' in body.replace(b" ", b"") for body in asked if body)


def test_what_was_kept_from_an_earlier_run_costs_nothing(folder: Path, serve: Callable[..., Any]) -> None:
    url = serve().url
    (folder / "lmcot.toml").write_text(f'[prices]\n"{url}#m" = {{ prompt = 1e6, completion = 1e6 }}\n')
    words = ("--large", f"{url}#m", "--cache", "--reply-cache", "replies", "--config", "lmcot.toml")
    paid = lmcot(*words, "--limit", "3")  # a reply is of 7 + 2 tokens
    kept = lmcot(*words, "-o", "out.jsonl", "--limit", "3", "--max-cost", "20")
    resumed = lmcot(*words, "-o", "out.jsonl", "--max-cost", "20")
    finished = lmcot(*words, "-o", "out.jsonl", "--max-cost", "20")
    last = json.loads((folder / "out.jsonl").read_text().splitlines()[-1])
    assert "6 tokens written, worth 27 by" in paid.stderr
    assert "worth" not in kept.stderr
    assert "answered 4 of 4 rows" in resumed.stderr
    assert "2 tokens written, worth 9 by" in resumed.stderr
    assert "; 0 tokens written; results in" in finished.stderr
    assert last["usage"]["large"] == {
        "prompt": 7,
        "completion": 2,
        "cached_prompt": 0,
        "cached_completion": 0,
    }


def test_a_sample_that_an_endpoint_had_no_seed_for_has_none_in_its_record(
    folder: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several choices in one call, the first alone is drawn with the seed that the call carries."""
    # On a busy machine a row's samples may come further apart than is usually waited for.
    monkeypatch.setattr("lmcot_cli.backends.endpoint.sharing.GATHERING_SECONDS", 0.5)
    words = ("--samples", "3", "--stop", "none", "-o", "out.jsonl", "--method", "cot")
    assert lmcot("--large", f"{serve(choices=8).url}#m", *words).exit_code == 0
    records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    seeds = [[sample["seed"] for sample in record["samples"]] for record in records]
    assert all(isinstance(first, int) and rest == [None, None] for first, *rest in seeds)


def test_an_endpoint_named_in_the_environment(
    folder: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", serve().url)
    assert lmcot("--large", "openai:m").exit_code == 0


def test_what_is_wrong_with_an_endpoint_is_one_line_before_any_row_is_read(folder: Path) -> None:
    (folder / "q.jsonl").write_text("{torn\n")
    result = lmcot("--large", "http://127.0.0.1:1/v1#m", "-o", "out.jsonl")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: nothing answers at http://127.0.0.1:1/v1 (connection refused):"
        " is the server running, and the address right?"
    ]


@pytest.mark.parametrize(("quiet", "lines"), [([], 1), (["--quiet"], 0)])
def test_what_the_library_warns_of_is_shown_once(
    folder: Path, answering: Callable[..., str], quiet: list[str], lines: int
) -> None:
    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if b'"seed"' in body:
            return 400, {}, b'{"error": {"message": "Unknown parameter: seed"}}'
        return 200, {}, b'{"choices": [{"message": {"content": "Lyon"}, "finish_reason": "stop"}]}'

    result = lmcot("--large", f"{answering(answer)}#m", *quiet)
    assert result.exit_code == 0
    warning = "#m takes no seed: samples cannot be drawn again alike"
    assert (
        sum(line.startswith("warning: http://") and warning in line for line in result.stderr.splitlines())
        == lines
    )


def test_calls_that_were_never_answered_are_told_of_and_counted_in_the_cost(
    folder: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmcot_cli.backends.endpoint.patience.SOONEST", 0.4)
    monkeypatch.setattr("lmcot_cli.backends.endpoint.patience.UNKNOWN", 1.0)
    rows = [{"id": f"q{i}", "question": f"Where is {i}?", "context": "Here."} for i in range(60)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = serve(silent=0.1, latency=0.005, seed=5)
    (folder / "lmcot.toml").write_text(f'[prices]\n"{server.url}#m" = {{ prompt = 1e6, completion = 1e6 }}\n')
    result = lmcot("--large", f"{server.url}#m", "-o", "out.jsonl", "--config", "lmcot.toml")
    calls = json.loads((folder / "out.jsonl.run.json").read_text())["calls"]
    assert result.exit_code == 0
    assert server.stats().faults["silent"] <= calls["unanswered"] <= server.stats().faults["silent"] + 3
    assert f"; {calls['unanswered']} calls were never answered; {calls['hedged']} call" in result.stderr
    assert "sent a second time (both may be billed)" in result.stderr
    worth = int(re.search(r"worth (\d+) by the price table", result.stderr)[1])
    assert worth >= 9 * (60 + calls["unanswered"] - 1), "a reply is of 7 + 2 tokens; the probe is no row's"
    records = (folder / "out.jsonl").read_text().splitlines()
    assert [json.loads(record)["id"] for record in records] == [row["id"] for row in rows]
