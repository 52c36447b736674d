"""Compute with weights in llama.cpp's own layouts: a process that ends by this shows that they are broken here."""

from __future__ import annotations

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.models import embedded


def main() -> None:
    """Read some tokens with the embedded model, whose weights get such a layout."""
    options = EngineOptions(n_ctx=256, parallel=1, threads=1)
    with LlamaBackend(embedded.path_of("builtin:small"), options, "builtin:small") as backend:
        backend.complete([Request("a word and a few more " * 4, seed=0)], Sampling(max_tokens=4))


if __name__ == "__main__":
    main()
