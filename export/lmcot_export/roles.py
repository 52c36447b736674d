"""The two parts a model can play, and what is asked of it in each."""

from __future__ import annotations

from collections.abc import Mapping

from lmcot_cli.backends.base import Role
from lmcot_cli.prompts.options import Stage

CHAIN_STAGES: Mapping[Role, Stage] = {"small": "guided_rationale", "large": "cot"}
"""The prompt that asks for a chain of thought: the small LM's rationale, the large one's own chain."""
