"""What the child can do, by name; a module is imported when it is first asked for."""

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
