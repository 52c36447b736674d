"""Records from Parquet files and from folders saved by `datasets`, a few rows at a time."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmcot_cli.datasets.record import JSON, BadRow, Record, bad_record
from lmcot_cli.errors import InputError, MissingExtraError

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 16
_INDEX_OF_PANDAS = "__index_level_"


def read_parquet(path: Path, max_bytes: int) -> Iterator[Record | BadRow]:
    """Yield the rows of a Parquet file; their place is their number.

    Raises:
        InputError: The file is damaged, or two columns have the same name.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading Parquet", "data") from error
    with _explained(path, "Parquet"), ParquetFile(path) as file:
        yield from _records(
            file.iter_batches(_ROWS_AT_ONCE, use_threads=False), file.schema_arrow, path, max_bytes
        )


def read_folder(path: Path, max_bytes: int) -> Iterator[Record | BadRow]:
    """Yield the rows of a folder that `Dataset.save_to_disk` wrote; their place is their number.

    Raises:
        InputError: The folder is something else, holds several splits, or is damaged.
        MissingExtraError: datasets is not installed.
    """
    _check_folder(path)
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading a folder of datasets", "data") from error
    datasets.disable_progress_bars()
    with _explained(path, "a folder of datasets"):
        saved = datasets.load_from_disk(str(path)).with_format("arrow")
        yield from _records(saved.iter(_ROWS_AT_ONCE), saved.features.arrow_schema, path, max_bytes)


def _check_folder(path: Path) -> None:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(one.parent.name for one in path.glob("*/state.json"))
        named = f" ({', '.join(splits)}): give one of them: {path / splits[0]}" if splits else ""
        raise InputError(f"{path}: holds several splits of a dataset{named}")
    if not (path / "state.json").is_file():
        raise InputError(f"{path}: is a folder that datasets did not save (save_to_disk): give a file in it")


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Turn what the libraries raise for a damaged file into one line."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as {what}: {reason}") from error


def _records(batches: Iterator[Any], schema: Any, path: Path, max_bytes: int) -> Iterator[Record | BadRow]:
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise InputError(f"{path}: has two columns {name!r}: rename one")
    labels, number = _labels(schema), 0
    for batch in batches:
        for row in _rows(batch, max_bytes):
            number += 1
            if row is None:
                yield bad_record(number, f"the row is longer than {max_bytes:,} bytes")
            else:
                yield Record(_json_record(row, labels), number)


def _rows(batch: Any, max_bytes: int) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a batch, None for one that is too large."""
    if batch.nbytes <= max_bytes:
        yield from batch.to_pylist()
        return
    for index in range(batch.num_rows):
        one = batch.slice(index, 1)
        yield None if one.nbytes > max_bytes else one.to_pylist()[0]


def _labels(schema: Any) -> dict[str, list[str]]:
    """Return the class names of columns of class numbers, which `datasets` stores in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (LookupError, ValueError, TypeError, AttributeError):
        return {}


def _json_record(row: Mapping[str, Any], labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a row as JSON has it; NaN, which pandas writes for missing values, becomes null."""
    columns = {
        name: _label(value, labels[name]) if name in labels else value
        for name, value in row.items()
        if not name.startswith(_INDEX_OF_PANDAS)
    }
    record: dict[str, Any] = JSON.decode(json.dumps(columns, default=_json_value))
    return record


def _label(value: Any, names: list[str]) -> Any:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _json_value(value: Any) -> str:
    """Return a value that JSON lacks: times in ISO 8601, decimals as digits, bytes as text or base 64."""
    if isinstance(value, bytes):
        return _text_of(value)
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64encode(value).decode()
