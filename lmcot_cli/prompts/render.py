"""Render the prompt of a method's stage for one row.

Every template starts with the same instructions, context and question (`_question.j2`); what differs between
methods, stages and samples comes last, so that an engine decodes the shared part once.
Training renders its examples through this module too: there is no second copy of a prompt.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Literal

from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError

Stage = Literal["standard", "cot", "guided_rationale", "guided_answer"]


class Prompts:
    """The templates, with those of `overrides` (a folder of files named as ours, `cot.j2` say) taken first.

    Raises:
        InputError: The folder does not exist or holds no template of a name we use.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        if overrides:
            _check_folder(overrides)
        folders = [FileSystemLoader(overrides)] if overrides else []
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([*folders, PackageLoader("lmcot_cli", "prompts")]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, stage: Stage, row: Row, rationale: str | None = None) -> str:
        """Render one prompt; it ends in the cue (`Answer:`) without trailing white space.

        Raises:
            InputError: A template of the override folder is not valid Jinja2 or uses an unknown name.
        """
        try:
            return self._environment.get_template(f"{stage}.j2").render(row=row, rationale=rationale).rstrip()
        except TemplateError as error:
            raise InputError(f"{getattr(error, 'filename', None) or f'{stage}.j2'}: {error}") from error

    def digest(self) -> str:
        """Return the SHA-256 (`sha256:...`) over all templates in use: it tells whether two runs asked alike.

        Raises:
            InputError: A template of the override folder is not UTF-8 text.
        """
        loader, digest = self._environment.loader, sha256()
        assert loader is not None
        for name in self._environment.list_templates(extensions=["j2"]):
            try:
                source, _, _ = loader.get_source(self._environment, name)
            except UnicodeDecodeError as error:
                raise InputError(f"{name}: the template is not UTF-8 text") from error
            digest.update(f"{name}\0{source}\0".encode())
        return f"sha256:{digest.hexdigest()}"


def _check_folder(overrides: Path) -> None:
    ours = sorted(PackageLoader("lmcot_cli", "prompts").list_templates())
    if not any((overrides / name).is_file() for name in ours if name.endswith(".j2")):
        names = ", ".join(name for name in ours if name.endswith(".j2"))
        raise InputError(f"{overrides}: no folder with a template to use: name the file as one of {names}")
