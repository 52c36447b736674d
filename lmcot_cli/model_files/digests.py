"""What files are known by: SHA-256, over one file or over all that make up a model.

A digest is computed anew in each session: neither a size nor a time of change says that a file is still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from lmcot_cli.errors import ModelError
from lmcot_cli.files import hex_digest, sha256_of
from lmcot_cli.model_files.folder import loaded_files
from lmcot_cli.model_files.onnx_graphs import graph_files
from lmcot_cli.model_files.places import check_file

WEIGHTS = "*.safetensors"


def files_digest(files: Sequence[Path]) -> str:
    """Return the digest of a model in one file, or one over the names and digests of several.

    Raises:
        ModelError: One of them cannot be read.
    """
    try:
        if len(files) == 1:
            return sha256_of(files[0])
        lines = [f"{path.name}\0{hex_digest(path)}\n" for path in files]
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"


def folders_digest(folders: Sequence[Path], *, graphs: bool = False) -> str:
    """Return one digest over all files of a model's folders that are loaded: weights, settings, tokenizer, templates.

    Args:
        folders: The model's, and an adapter's.
        graphs: Whether ONNX graphs are loaded, with the files that hold their weights.

    Raises:
        ModelError: One of them lies elsewhere, or cannot be read.
    """
    total = sha256()
    for folder in folders:
        files = {*loaded_files(folder), *(graph_files(folder) if graphs else ())}
        for path in sorted(files):
            total.update(f"{path.relative_to(folder).as_posix()}\0{hex_digest(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"


def weights_digest(folder: Path) -> str:
    """Return the digest over the weight files of a model folder, names and bytes.

    Raises:
        ModelError: One of them lies elsewhere.
    """
    total = sha256()
    for path in sorted(folder.glob(WEIGHTS)):
        check_file(folder, path.name)
        total.update(f"{path.name}\0{hex_digest(path)}\0".encode())
    return f"sha256:{total.hexdigest()}"


def settings_digest(folder: Path) -> str:
    """Return the digest over what else is loaded of a model folder: settings, tokenizer, weights elsewhere than on top.

    Raises:
        ModelError: One of them lies elsewhere.
    """
    total = sha256()
    for path in loaded_files(folder):
        if path.suffix != ".safetensors" or path.parent != folder:
            total.update(f"{path.relative_to(folder).as_posix()}\0{hex_digest(path)}\n".encode())
    return f"sha256:{total.hexdigest()}"
