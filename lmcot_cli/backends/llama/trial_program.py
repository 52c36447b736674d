"""Write two tokens with a model: the program that `trial` runs, `... .trial_program MODEL.gguf`."""

from __future__ import annotations

import sys
from pathlib import Path

from lmcot_cli.backends.base import Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.errors import ModelError


def main() -> None:
    """Load the model that is named, and write."""
    try:
        backend = LlamaBackend(Path(sys.argv[1]), EngineOptions(threads=1, parallel=1, n_ctx=64))
        backend.complete([Request("Who?", 0)], Sampling(max_tokens=2))
    except ModelError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
