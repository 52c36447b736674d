"""The classes that the child makes objects of, by name; each is imported at its first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_JOBS = {
    "chat": "lmcot_cli.backends.chat_rendering:ChatRendering",
    "schema": "lmcot_cli.pipeline.schema_check:SchemaCheck",
    "tokenizer": "lmcot_cli.backends.torch.tokenizing:Tokenizing",
    "prompts": "lmcot_cli.prompts.rendering:FencedPrompts",
}


def job_class(name: str) -> Any:
    """Return the class of that name."""
    module, _, attribute = _JOBS[name].partition(":")
    return getattr(import_module(module), attribute)
