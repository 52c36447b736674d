"""The fuzz targets by name: one for each parser of input that nobody vouches for."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import endpoint, files, models, replies, rows, templates

TARGETS: dict[str, Target] = (
    rows.TARGETS | endpoint.TARGETS | replies.TARGETS | files.TARGETS | models.TARGETS | templates.TARGETS
)
