"""Files that somebody else may have written: settings, outputs, run files, recipes, manifests, examples."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.scripted import ScriptedBackend
from lmcot_cli.config import answer_options, load_config, parse_config
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import LmcotError
from lmcot_cli.pipeline.ahead import Ahead
from lmcot_cli.pipeline.journal import Journal
from lmcot_cli.pipeline.preview import _kept
from lmcot_cli.pipeline.run_file import PreviousRun, differing, read_run_file
from lmcot_cli.prompts.shots import ShotRows
from lmcot_cli.scoring.answers import read_answers, read_gold
from lmcot_cli.settings.file import SettingsFile, Standing
from lmcot_export.manifest import Manifest
from lmcot_train.curves import read_metrics
from lmcot_train.rationales.filters import Candidate, FilterOptions, reason_against
from lmcot_train.rationales.run import _is_ours
from lmcot_train.rewards.large_answers import _remembered
from lmcot_train.run_folder import RunFolder
from lmcot_train.stages import _read, plan, read_recipe
from tests.fuzz.target import Target, folder_of, text_of

ROW = Row("1", "Where is it?", (Paragraph("Lyon", ("It is a city.",)),), ("Lyon",), None, None, 1)
SETTINGS = b"""\
[models]
big = "openai:gpt-4o-mini"
[prices]
big = { prompt = 0.15, completion = 0.6 }
[answer]
method = "guided"
samples = 5
temperature = 0.7
stop = "beta:0.95"
parallel = "auto"
answer_kind = "number"
answer_regex = "answer: (.*)"
fields = { question = "q" }
request_fields = ["a=1"]
large_system = "Be brief."
"""
RESULT = {
    "id": "1", "question": "Who?", "answer": "Lyon", "agreement": 1.0, "votes": {"Lyon": 1},
    "samples": [{"rationale": "r", "answer": "Lyon", "logprob": -0.5, "tokens": 3, "seed": 7, "finish_reason": "stop",
                 "rationale_finish_reason": None, "thinking": {}, "thinking_text": {}}],
    "samples_saved": 0, "cut_short": None, "method": "guided",
    "usage": {"small": {"prompt": 1, "completion": 2, "cached_prompt": 0, "cached_completion": 0},
              "large": {"prompt": 1, "completion": 2, "cached_prompt": 1, "cached_completion": 2}},
    "gold": ["Lyon"], "type": None, "row_digest": "0" * 16, "columns": {}, "error": None,
}  # fmt: skip
FAILED = {**RESULT, "id": "2", "samples": [], "answer": None, "error": {"type": "reply_cut", "message": "m"}}
OUTPUT = b"".join(json.dumps(one).encode() + b"\n" for one in (RESULT, FAILED)) + b'{"id": "torn'
RUN = b'{"format": 1, "settings": {"method": "guided", "samples": 5}, "started": "2026-01-01T00:00:00+00:00"}'
RECIPE = b"""\
output = "runs/embedded"
[rationales]
large = "builtin:large"
samples = 4
[distill]
base = "runs/base"
[refine]
updates = 3
decay = true
[export]
quantize = "q8_0"
"""
TRAINED = (
    b'{"format": 1, "kind": "distill", "base": "b", "base_digest": "sha256:0", "settings": {}, "seeds": {"a": 1},'
    b' "data": {}, "adapter": "adapter", "versions": {}, "machine": {}, "started": "", "finished": true}'
)
MANIFEST = (
    b'{"format": 1, "outputs": {"a.gguf": {"sha256": "0", "bytes": 1, "made_from": "0", "verified": {}}}}'
)
SHOTS = b"""\
{"question": "Who is it?", "context": ["a"], "answer": "b", "rationale": "c"}
{"question": "?!", "answer": 1}
"""


def settings(data: bytes) -> None:
    """Say what a settings file that was found would do; make options of one that was named."""
    with suppress(LmcotError):
        _ = parse_config(SettingsFile(Path("lmcot.toml"), Standing.FOUND, data)).reach
    with folder_of(lmcot_toml=data) as folder:
        answer_options(load_config(folder / "lmcot.toml"), {}).check()


def outputs(data: bytes) -> None:
    """Go on from an output, score it, and preview what is left of it."""
    with folder_of(out_jsonl=data, **{"out_jsonl_run_json": RUN}) as folder:
        path = folder / "out.jsonl"
        for read in (_go_on, read_answers, read_gold, lambda output: list(_kept(output, retry_errors=True))):
            try:
                read(path)
            except LmcotError as error:
                assert "\n" not in str(error)


def ahead(data: bytes) -> None:
    """Take what an earlier session left of rows that were done before their turn."""
    with folder_of(**{"_out_ahead": data}) as folder:
        rows = Ahead(folder / "out", PreviousRun({"method": "guided"}, "now"))
        assert all(recorded.text.endswith(b"\n") for recorded in rows.rows.values())
        list(rows.in_place([ROW]))
        rows.keep([])


def _go_on(path: Path) -> None:
    with Journal(path) as journal:
        journal.check({"method": "guided", "samples": 5, "new": None})
        records = list(journal.records())
        assert journal.totals.rows == len(records)


def run_files(data: bytes) -> None:
    """Read the run file beside an output."""
    with folder_of(out_run_json=data) as folder:
        if previous := read_run_file(folder / "out.run.json"):
            assert all(
                "\n" not in one for one in differing(previous.settings, {"method": "cot", "samples": 1})
            )


def recipes(data: bytes) -> None:
    """Read the file of `lmcot train all`, and lay out its commands."""
    with folder_of(r_toml=data) as folder:
        plan(read_recipe(folder / "r.toml"), folder / "q.jsonl")


def training_files(data: bytes) -> None:
    """Read what a training run left: its record, what was made from what, metrics, and the large LM's answers."""
    with folder_of(run_json=data, stages_json=data, metrics_jsonl=data, memory_jsonl=data) as folder:
        readers = (
            lambda: RunFolder(folder).read(),
            lambda: _read(folder / "stages.json"),
            lambda: read_metrics(folder / "metrics.jsonl", "step"),
            lambda: _is_ours(folder / "memory"),
            lambda: _remembered(folder / "memory.jsonl"),
        )
        for read in readers:
            with suppress(LmcotError):
                read()


def rationales(data: bytes) -> None:
    """Filter a rationale that somebody wrote."""
    reason_against(Candidate(ROW, text_of(data), "Lyon"), FilterOptions())


def manifests(data: bytes) -> None:
    """Read the manifest of an export, and look for outputs in it."""
    with folder_of(manifest_json=data, a_gguf=b"a") as folder:
        manifest = Manifest(folder)
        manifest.holds(folder / "a.gguf", "0")
        manifest.claim(folder / "a.gguf")


def shots(data: bytes) -> None:
    """Read rows to make examples of, and choose among them."""
    with folder_of(shots_jsonl=data) as folder:
        for by in ("first", "bm25"):
            rows = ShotRows(folder / "shots.jsonl", 1, by, rationales=False)  # type: ignore[arg-type]
            assert len(rows.chosen(ROW)) == 1
            rows.digest()


def scripts(data: bytes) -> None:
    """Read the replies of a scripted model."""
    with folder_of(script_jsonl=data) as folder:
        if b"seconds" not in data:
            ScriptedBackend(folder / "script.jsonl").complete([Request("a", 3)], Sampling())


TARGETS = {
    "settings": Target(settings, (SETTINGS,)),
    "outputs": Target(outputs, (OUTPUT, OUTPUT.splitlines()[0] + b"\n")),
    "outputs_ahead": Target(
        ahead,
        (b'{"settings": {"method": "guided"}, "started": "now"}\n' + OUTPUT.splitlines(keepends=True)[0],),
    ),
    "run_files": Target(run_files, (RUN,)),
    "recipes": Target(recipes, (RECIPE,)),
    "training_files": Target(
        training_files,
        (TRAINED, b'{"step": 1, "loss": 0.5}\n', b'{"asked": "00"}\n{"key": "00", "answer": "a"}\n'),
    ),
    "rationales": Target(rationales, (b"Lyon is a city. It is in France, so the answer is Lyon.",)),
    "manifests": Target(manifests, (MANIFEST,)),
    "shots": Target(shots, (SHOTS,), widens=False),
    "scripts": Target(scripts, (b'"a"\n{"match": "x", "text": ["b", "c"], "finish_reason": "length"}\n',)),
}
