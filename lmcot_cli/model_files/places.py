"""Check that a file is a file, and lies in the folder that the user named.

A link may lead anywhere in that folder. Hugging Face's cache keeps the files of a repository in `REPO/blobs`, with
links to them in `REPO/snapshots/REVISION`. Those links leave the snapshot, but not the repository's own folder, which
is one download from one place, so they are followed.
"""

from __future__ import annotations

import stat
from pathlib import Path

from lmcot_cli.errors import ModelError


def check_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, after checking that it is a file and lies there.

    Args:
        folder: The folder that the user named.
        name: The file as another file names it; it may be anything.

    Raises:
        ModelError: It leads out of the folder, does not exist, or is a folder, a pipe or a device.
    """
    path = folder / name
    if _leads_outside(name):
        raise ModelError(
            f"{folder}: names {name!r} as one of its files, which lies outside it; it is not read"
        )
    try:
        target = path.resolve(strict=True)
        kind = target.stat().st_mode
    except FileNotFoundError as error:
        raise ModelError(f"{path}: is missing; fetch or save the model anew") from error
    except (OSError, RuntimeError) as error:  # a loop of links was a RuntimeError up to Python 3.12
        raise ModelError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not any(target.is_relative_to(root) for root in _roots(folder)):
        raise ModelError(f"{path}: is a link out of its folder, to {target}; put the file itself there")
    if not stat.S_ISREG(kind):
        raise ModelError(f"{path}: is not a file but {_kind(kind)}; fetch or save the model anew")
    return path


def check_folder(parent: Path, name: str) -> Path:
    """Return the path of a folder in a folder, as a file there names it.

    Raises:
        ModelError: It lies elsewhere.
    """
    path = parent / name
    if _leads_outside(name) or not path.resolve().is_relative_to(parent.resolve()):
        raise ModelError(f"{parent}: names {name!r} as a part of it, which lies outside it; it is not read")
    return path


def _leads_outside(name: str) -> bool:
    return "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts


def _roots(folder: Path) -> list[Path]:
    """Return the folders of a folder's files: itself, and for a snapshot of the hub's cache the repository's blobs."""
    here = folder.resolve()
    snapshots = [place for place in here.parents if place.name == "snapshots"]
    repositories = [place.parent for place in snapshots[:1] if place.parent.name.startswith("models--")]
    return [here, *(repository / "blobs" for repository in repositories)]


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
