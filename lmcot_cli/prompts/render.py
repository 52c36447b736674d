"""Render the prompt of a method's stage for one row.

Every template starts with the same instructions, context and question (`_question.j2`); what differs between
methods, stages and samples comes last, so that an engine decodes the shared part once.
Training renders its examples through this module too: there is no second copy of a prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError

Stage = Literal["standard", "cot", "guided_rationale", "guided_answer"]


class Prompts:
    """The templates, with those of `overrides` (a folder of files named as ours, `cot.j2` say) taken first."""

    def __init__(self, overrides: Path | None = None) -> None:
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
