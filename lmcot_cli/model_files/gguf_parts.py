"""A GGUF model that was split into `NAME-00001-of-00003.gguf` and so on, as llama.cpp names and finds its parts."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from pathlib import Path

from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.gguf_header import SPLIT_COUNT, GgufHeader, read_header
from lmcot_cli.model_files.places import check_file

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def part_names(name: str) -> list[str]:
    """Return the names of all parts of the model whose first part is given; for any other file its own name."""
    match = _PART.fullmatch(name)
    if match is None or int(match["number"]) != 1:
        return [name]
    numbers = range(1, int(match["count"]) + 1)
    return [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in numbers]


def read_parts(path: Path) -> tuple[list[Path], GgufHeader]:
    """Return the files of a model, and one header with the metadata of the first and the tensors of all.

    Raises:
        ModelError: A part is missing, damaged, lies elsewhere, or is not the one to name.
    """
    header = read_header(path)
    count = header.metadata.get(SPLIT_COUNT, 1)
    if count in (0, 1):
        return [path], header
    names = part_names(path.name)
    if len(names) != count:
        raise ModelError(
            f"{path}: is the first of {count!r} parts of a model, but is not named so; rename it to"
            " NAME-00001-of-NNNNN.gguf, with the others beside it"
        )
    files = [path, *(check_file(path.parent, name) for name in names[1:])]
    others = [read_header(file, later_part=True) for file in files[1:]]
    tensors = chain(header.tensors, *(other.tensors for other in others))
    return files, replace(header, tensors=tuple(tensors))
