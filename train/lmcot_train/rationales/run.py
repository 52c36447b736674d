"""Collect rationales: ask the teacher (resumable, as `lmcot answer`), filter its chains, write what passes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from itertools import islice
from math import inf
from pathlib import Path
from typing import IO, Any

from lmcot_cli.datasets.native import to_record
from lmcot_cli.datasets.options import DEFAULT, RowOptions
from lmcot_cli.datasets.reader import at_least_one, read_rows, read_source
from lmcot_cli.datasets.record import BadRow
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, OutputError, UsageError
from lmcot_cli.files import cannot_write, lock, read_object, sha256_of, write_json
from lmcot_cli.installation import versions
from lmcot_cli.pipeline.duplicates import mark_duplicates
from lmcot_cli.pipeline.extract import chain_answer
from lmcot_cli.pipeline.run_file import now
from lmcot_train.rationales.filters import FILTERS, Candidate, reason_against, surest_bounds
from lmcot_train.rationales.options import FilterOptions
from lmcot_train.run_folder import PACKAGES


@dataclass(slots=True)
class Counts:
    """Counts of rows and rationales; `left_out` counts by the first filter that a rationale did not pass."""

    rows: int = 0
    failed: int = 0  # rows that could not be read or answered
    candidates: int = 0
    kept: int = 0
    rows_kept: int = 0  # rows with at least one rationale that was kept
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FILTERS, 0))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rationales come from.

    Attributes:
        source: The file of questions, or of rows with rationales.
        answers: The output of `lmcot answer --method cot` for these questions; None for the rationales of the rows.
        limit: Maximum rows to read.
        rows: How rows are read.
    """

    source: Path
    answers: Path | None = None
    limit: int | None = None
    rows: RowOptions = DEFAULT

    def check(self) -> None:
        """Raise a UsageError for a limit that leaves no row."""
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit}: give 1 or more")


def answers_path(output: Path) -> Path:
    """Return the file of the teacher's answers, beside the rationales."""
    return output.parent / f"{output.stem}.answers.jsonl"


class SupportingRows(BytesIO):
    """Rows for a teacher in memory, with the name of the file that they came from."""

    name = ""


def read_supporting(
    questions: Path, limit: int | None = None, options: RowOptions = DEFAULT
) -> SupportingRows:
    """Read the questions with only their supporting paragraphs, for a teacher.

    HotpotQA, 2WikiMultiHopQA, MuSiQue and MicroHop name these paragraphs. A teacher that need not search makes fewer
    mistakes; a student that learns its rationales from the whole context still learns to search. The rows are the same
    each time, so that an interrupted run can continue. A row that cannot be read keeps its place, with its id alone.

    Raises:
        InputError: The questions cannot be read, or a readable row names no supporting paragraph.
    """
    rows = (
        json.dumps(_supporting_only(row, questions)) + "\n"
        for row in _rows(Origin(questions, limit=limit, rows=options))
    )
    supporting = SupportingRows("".join(rows).encode())
    supporting.name = str(questions)
    return supporting


def _supporting_only(row: Row | BadRow, source: Path) -> dict[str, Any]:
    if isinstance(row, BadRow):
        return {"id": row.id}
    if not row.supporting:
        raise InputError(
            f"{source}:{row.line}: row {row.id!r} names no supporting paragraph (supporting_facts, or is_supporting"
            " in a paragraph): omit --context supporting"
        )
    context = tuple(row.context[position] for position in row.supporting)
    return to_record(replace(row, context=context, supporting=(), supporting_sentences=()))


def collect(
    origin: Origin, output: Path, options: FilterOptions, ask: Callable[[], None] | None = None
) -> Counts:
    """Filter rationales and write those that pass as rows in lmcot's own layout, with a run file beside them.

    A row's first rationale has the row's id, further ones have `#2`, `#3` after it.

    Args:
        origin: Where the rationales come from.
        output: The file to write.
        options: The bounds of a rationale.
        ask: Has the teacher write the answers that `origin` names; called once the output can be written.

    Raises:
        UsageError: Nothing can meet the bounds, or the output is the input.
        InputError: The input cannot be read, or no rationale passes; nothing is written then.
        OutputError: The output cannot be written, is no file of rationales, or is being written by another process.
    """
    options.check()
    origin.check()
    _check_output(origin, output)
    started, counts = now(), Counts()
    with _claimed(output) as (file, partial):
        if ask:
            ask()
        bounds = _bounds(origin, options)
        try:
            for group in _groups(origin, counts):
                file.writelines(_lines(_passing(group, options, counts), bounds, counts))
            if not counts.kept:
                raise InputError(_none_left(origin, counts))
            file.flush()
            partial.replace(output)
            _write_run_file(origin, output, options, counts, started)
        except OSError as error:
            raise cannot_write(output, error, "choose another -o") from error
    return counts


def _check_output(origin: Origin, output: Path) -> None:
    """Refuse an output that is a folder, the input, or a file of somebody else."""
    if not output.name or output.is_dir():
        raise OutputError(f"-o {output}: is a folder: name a file in it")
    if output.exists() and not _is_ours(output):
        raise OutputError(f"{output}: is not a file of rationales that lmcot wrote: choose another -o")
    for written in (output, origin.answers):
        if written and written.exists() and origin.source.exists() and written.samefile(origin.source):
            raise UsageError(f"-o {output}: {written} is the input itself; choose another -o")


def _is_ours(output: Path) -> bool:
    """Whether there is a run file of rationales beside an output."""
    try:
        return "filters" in read_object(_run_path(output), InputError)
    except InputError:
        return False


@contextmanager
def _claimed(output: Path) -> Iterator[tuple[IO[str], Path]]:
    """Reserve an output for this process; yield the file to write, and its path, to replace the output with.

    Raises:
        OutputError: It cannot be written, or another process has it.
    """
    partial = output.with_name(f".{output.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise cannot_write(output, error, "choose another -o") from error
    file = os.fdopen(descriptor, "w", encoding="utf-8")
    try:
        lock(descriptor, output)
        if not _is_at(descriptor, partial):
            raise OutputError(f"{output}: another lmcot is writing to it: wait for it, or choose another -o")
        try:
            file.truncate(0)  # left by a killed run
            yield file, partial
        finally:
            # Otherwise it has replaced the output, and another process may have a new one.
            if _is_at(descriptor, partial):
                partial.unlink()
    finally:
        with suppress(OSError):  # a full disk was reported before
            file.close()


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still at its path, from which another process may have moved it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _groups(origin: Origin, counts: Counts) -> Iterator[list[Candidate]]:
    """Yield the rationales of each row."""
    return _from_answers(origin, counts) if origin.answers else _from_rows(origin, counts)


def _bounds(origin: Origin, options: FilterOptions) -> dict[str | None, float]:
    """Read everything once to see how sure the large LM was of what passes, if that is asked for."""
    if options.keep_surest is None:
        return {}
    unused = Counts()
    passing = (one for group in _groups(origin, unused) for one in _passing(group, options, unused))
    return surest_bounds(passing, options.keep_surest)


def _passing(group: list[Candidate], options: FilterOptions, counts: Counts) -> list[Candidate]:
    """Return the rationales of a row that pass the filters, and count the others."""
    passing: list[Candidate] = []
    said: set[str] = set()
    for candidate in group:
        reason = reason_against(candidate, options)
        if not reason and candidate.rationale in said:
            reason = "said already"
        counts.candidates += 1
        if reason:
            counts.left_out[reason] += 1
        else:
            said.add(candidate.rationale)
            passing.append(candidate)
    return passing


def _lines(passing: list[Candidate], bounds: Mapping[str | None, float], counts: Counts) -> list[str]:
    """Return the rationales of a row as lines, without those below the bound of their question type."""
    sure = [one for one in passing if one.logprob is None or one.logprob >= bounds.get(one.row.type, -inf)]
    counts.left_out["unsure"] += len(passing) - len(sure)
    counts.kept += len(sure)
    counts.rows_kept += bool(sure)
    return [json.dumps(_record(candidate, number)) + "\n" for number, candidate in enumerate(sure, start=1)]


def _record(candidate: Candidate, number: int) -> dict[str, Any]:
    row = candidate.row
    record = to_record(row) | {"rationale": candidate.rationale}
    if number > 1:
        record["id"] = f"{row.id}#{number}"
    teacher = {"answer": candidate.answer, "logprob": candidate.logprob, "seed": candidate.seed}
    return record | {"teacher": teacher} if candidate.drawn else record


def _rows(origin: Origin) -> Iterator[Row | BadRow]:
    rows = mark_duplicates(at_least_one(read_rows(origin.source, origin.rows), origin.source))
    return islice(rows, origin.limit)


def _from_rows(origin: Origin, counts: Counts) -> Iterator[list[Candidate]]:
    """Yield the rationales of rows; "the answer is" at the end of one is its answer, not part of it."""
    for row in _rows(origin):
        counts.rows += 1
        if isinstance(row, BadRow):
            raise InputError(row.located(str(origin.source)))
        if row.rationale:
            text, answer = chain_answer(row.rationale)
            yield [Candidate(row, text, answer, judged=answer is not None)]


def _from_answers(origin: Origin, counts: Counts) -> Iterator[list[Candidate]]:
    """Yield the rationales in the teacher's answers, which are in the order of the questions."""
    assert origin.answers is not None
    for row, record in zip(_rows(origin), read_source(origin.answers), strict=False):
        counts.rows += 1
        value = {} if isinstance(record, BadRow) else record.value
        if isinstance(row, BadRow) or value.get("error") or not value:
            counts.failed += 1
            continue
        if value.get("id") != row.id:
            raise InputError(
                f"{origin.answers}:{record.line}: is the answer to row {value.get('id')!r}, not {row.id!r}"
            )
        yield [_candidate(row, sample) for sample in value["samples"]]


def _candidate(row: Row, sample: Mapping[str, Any]) -> Candidate:
    rationale, answer, logprob, seed = (sample[name] for name in ("rationale", "answer", "logprob", "seed"))
    return Candidate(row, rationale or "", answer, logprob=logprob, drawn=True, seed=seed)


def _none_left(origin: Origin, counts: Counts) -> str:
    if not counts.candidates:
        return f"{origin.source}: holds no rationale to filter ({counts.rows} rows, {counts.failed} failed)"
    most, count = max(counts.left_out.items(), key=lambda item: item[1])
    return (
        f"{origin.source}: none of {counts.candidates} rationales passes the filters; {count} fail by"
        f" {most!r} ({FILTERS[most]}): loosen that, take a better --large or more --samples"
    )


def _write_run_file(
    origin: Origin, output: Path, options: FilterOptions, counts: Counts, started: str
) -> None:
    record = {
        "format": 1,
        "data": {origin.source.name: sha256_of(origin.source)},
        "answers": origin.answers.name if origin.answers else None,
        "filters": asdict(options),
        "counts": asdict(counts),
        "versions": versions(*PACKAGES),
        "started": started,
        "ended": now(),
        "finished": True,
    }
    write_json(_run_path(output), record)


def _run_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.run.json")
