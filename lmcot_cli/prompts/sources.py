"""The files of prompt templates: those of `--prompts` first, then ours."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from jinja2 import TemplateNotFound
from jinja2.loaders import split_template_path

from lmcot_cli.errors import InputError

_OURS = Path(__file__).parent
_MOST_BYTES = 2**20


class PromptSources:
    """The templates by name.

    Args:
        overrides: A folder of files named as ours, taken first.

    Raises:
        InputError: The folder does not exist or holds no template of a name we use.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._overrides = overrides
        self._folders = [overrides, _OURS] if overrides else [_OURS]
        names = sorted(path.name for path in _OURS.glob("*.j2"))
        if overrides and not any((overrides / name).is_file() for name in names):
            raise InputError(
                f"{overrides}: no folder with a template to use: name the file as one of {', '.join(names)}"
            )

    def load(self, name: str) -> tuple[str, str] | None:
        """Return the source of a template and its file; None if no folder has one of that name.

        Raises:
            InputError: It is a link to another folder, too large, or no UTF-8 text.
        """
        try:
            parts = split_template_path(name)
        except TemplateNotFound:  # a name with `..` in it
            return None
        for folder in self._folders:
            path = folder.joinpath(*parts)
            if os.path.isfile(path):  # noqa: PTH113 - Path's own raises where a name is too long for a file
                return _read(path, folder), str(path)
        return None

    def file_of(self, stage: str) -> str:
        """Return the file that a stage is rendered from, for messages."""
        found = self.load(f"{stage}.j2")
        assert found is not None  # there is one of ours
        return found[1]

    def digest(self) -> str:
        """Return the SHA-256 (`sha256:...`) over all templates; see `Prompts.digest`."""
        digest = sha256()
        names = {
            path.relative_to(folder).as_posix() for folder in self._folders for path in folder.rglob("*.j2")
        }
        for name in sorted(names):
            if found := self.load(
                name
            ):  # none: a name without a file behind it, such as the lock of an editor
                digest.update(f"{name}\0{found[0]}\0".encode())
        return f"sha256:{digest.hexdigest()}"


def _read(path: Path, folder: Path) -> str:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: is a link to a file outside of {folder}; put the template itself there")
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"{path}: has {size:,} bytes, more than the {_MOST_BYTES:,} of any template")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the template is not UTF-8 text") from error
