"""A GGUF model that was split into several files, read as one: llama.cpp finds the parts by the first one's name."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

from lmcot_cli.backends.llama.gguf_header import SPLIT_COUNT, GgufHeader, read_header
from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.gguf_parts import part_names
from lmcot_cli.model_files.places import check_file


def read_parts(path: Path) -> tuple[list[Path], GgufHeader]:
    """Return the files of a model, and their headers as one: the first one's metadata, the tensors of all.

    Raises:
        ModelError: A part is missing, damaged, lies elsewhere or is not the one that is to be named.
    """
    header = read_header(path)
    count = header.metadata.get(SPLIT_COUNT, 1)
    if count in (0, 1):
        return [path], header
    names = part_names(path.name)
    if len(names) != count:
        raise ModelError(
            f"{path}: is the first of {count!r} parts of a model, but is not called so; call it"
            " NAME-00001-of-NNNNN.gguf, with the others beside it"
        )
    files = [path, *(check_file(path.parent, name) for name in names[1:])]
    others = [read_header(file, later_part=True) for file in files[1:]]
    tensors = chain(header.tensors, *(other.tensors for other in others))
    return files, replace(header, tensors=tuple(tensors))
