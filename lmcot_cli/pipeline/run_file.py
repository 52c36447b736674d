"""The run file beside an output (`OUT.run.json`): how its results were made, and whether all are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from lmcot_cli.errors import OutputError
from lmcot_cli.files import read_regular, write_json
from lmcot_cli.installation import machine, versions
from lmcot_cli.pipeline.result import TokenCounts, Usage

FORMAT = 1
_LONGEST_SHOWN = 200
Settings = Mapping[str, str | int | float | bool | None]

ADDED: Settings = {"keep_raw": "odd", "truncate": "none", "kv_type": "f16"}
"""The defaults of settings that older versions did not have: their results may be continued with these."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over the records of an output.

    Attributes:
        rows: Records written.
        failed: Rows that have an error instead of a result.
        unanswered: Rows that worked, but without an answer in any sample.
        cut_short: Rows that got fewer samples because of a limit of the run.
        samples: Samples drawn.
        samples_saved: Samples that rows could have drawn but did not.
        cut_replies: Replies that a limit cut before their answer was complete, failed rows included.
        cut_rationales: Rationales of the small LM that a limit cut.
        thoughts: Samples for which a model thought.
        truncated: Rows whose context was not shown to a model as a whole.
        usage: Tokens of both models.
    """

    rows: int = 0
    failed: int = 0
    unanswered: int = 0
    cut_short: int = 0
    samples: int = 0
    samples_saved: int = 0
    cut_replies: int = 0
    cut_rationales: int = 0
    thoughts: int = 0
    truncated: int = 0
    usage: Usage = field(default_factory=Usage)

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def answered(self) -> int:
        """Rows that have an answer."""
        return self.rows - self.failed - self.unanswered

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Count one output record."""
        failed = record["error"] is not None
        samples = [] if failed else record["samples"]
        small, large = (TokenCounts(**record["usage"][role]) for role in ("small", "large"))
        return cls(
            rows=1,
            failed=int(failed),
            unanswered=int(not failed and record["answer"] is None),
            cut_short=int(record["cut_short"] is not None),
            samples=len(samples),
            samples_saved=record["samples_saved"] or 0,
            cut_replies=sum(one.get("finish_reason") == "length" for one in samples)
            + int(failed and record["error"]["type"] == "reply_cut"),
            cut_rationales=sum(one.get("rationale_finish_reason") == "length" for one in samples),
            thoughts=sum(bool(one.get("thinking")) for one in samples),
            truncated=int(record.get("truncated") is not None),
            usage=Usage(small, large),
        )

    def to_record(self) -> dict[str, Any]:
        """Return the totals as the run file has them."""
        counts = asdict(self)
        del counts["thoughts"]
        return {"rows": counts.pop("rows"), "answered": self.answered, **counts}


@dataclass(frozen=True, slots=True)
class RunFile:
    """The content of a run file.

    Attributes:
        command: The command line that made the results.
        input: Name of the file that the rows came from.
        settings: Everything that changes results, by the name of its option; a resume must have the same.
        engine: Settings of local engines, which change the speed only.
        endpoint: Settings of endpoints that do not change results; None where no model is behind one.
        totals: The sums over all records written so far.
        calls: The calls to endpoints in all sessions that ended; None where no model is behind one.
        started: Start of the first session, ISO 8601 with time zone.
        ended: End of the last session; None while one runs or if it was killed.
        finished: Whether every row of the input has its record.
    """

    command: tuple[str, ...]
    input: str
    settings: Settings
    engine: Settings
    endpoint: Settings | None = None
    totals: Totals = Totals()
    calls: Mapping[str, int] | None = None
    started: str = ""
    ended: str | None = None
    finished: bool = False

    def write(self, path: Path, advice: str = "") -> None:
        """Replace the run file.

        Args:
            path: The run file.
            advice: What the user can do if it cannot be written.

        Raises:
            OutputError: It cannot be written.
        """
        write_json(path, self._to_record(), advice)

    def ending(self, totals: Totals, calls: Mapping[str, int] | None, *, finished: bool) -> Self:
        """Return the file at the end of a session that added these calls."""
        before = dict(self.calls or {})
        added = calls and {name: before.get(name, 0) + calls.get(name, 0) for name in {**before, **calls}}
        return replace(self, totals=totals, calls=added or self.calls, ended=now(), finished=finished)

    def _to_record(self) -> dict[str, Any]:
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        made_by = {"versions": versions("llama-cpp-python"), "machine": machine()}
        return {"format": FORMAT, **own, "totals": self.totals.to_record(), **made_by}


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """What a resume needs to know about the run that began the output."""

    settings: Settings
    started: str
    calls: Mapping[str, int] | None = field(default=None, compare=False)


def read_run_file(path: Path) -> PreviousRun | None:
    """Read the run file of an earlier session; None where there is none.

    Raises:
        OutputError: The file cannot be read, or is not a run file.
    """
    try:
        record = json.loads(read_regular(path))
        calls = record.get("calls") and {name: int(number) for name, number in record["calls"].items()}
        return PreviousRun(dict(record["settings"]), str(record["started"]), calls)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path}: is not a run file of lmcot: choose another -o, or start anew with --overwrite"
        ) from error


def differing(old: Settings, new: Settings) -> list[str]:
    """Return each new setting that differs from the old run's, as `name old -> new`.

    One that an older version did not have differs only if it is used.
    """
    return [
        f"{name} {_shown(old.get(name))} -> {_shown(value)}"
        for name, value in new.items()
        if (old[name] != value if name in old else value not in (None, "", 0, ADDED.get(name)))
        and (old.get(name), value) not in ((None, ""), ("", None))
    ]


def _shown(value: object) -> str:
    """Return a value on one line, of long text (a system message) only the beginning."""
    text = value if isinstance(value, str) else json.dumps(value)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}..."


def now() -> str:
    """Return the present time as the run file writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
