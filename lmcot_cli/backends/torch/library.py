"""Prepare transformers: check that it is installed, silence it, and turn its errors into one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lmcot_cli.errors import LmcotError, MissingExtraError, ModelError
from lmcot_cli.models.hub import switched_off

_REASON_LENGTH = 300
OWN_CODE = "it brings code of its own; read that, then allow it with --trust-remote-code"
OWN_CODE_REFUSED = "it brings code of its own, which is not run: give a model without"


@contextmanager
def loading(name: str | Path, own_code: str = OWN_CODE) -> Iterator[None]:
    """Turn any error of the libraries about a model's folder into one line that names the folder.

    The libraries cannot reach the hub meanwhile: the files that the user named are on the disk by then.

    Args:
        name: The folder or hub id.
        own_code: The message for a model that brings code of its own.

    Raises:
        ModelError: A library raised an error.
    """
    try:
        with switched_off():
            yield
    except LmcotError:
        raise
    except Exception as error:
        # Broad on purpose. These files come from anywhere, and transformers, tokenizers, jinja, peft and safetensors
        # raise anything at damaged ones: KeyError, ZeroDivisionError, RecursionError, a bare Exception. The cause
        # stays chained, to find a bug of ours.
        damaged = f"{reason_of(error)}; if it is damaged, fetch or save it anew"
        reason = own_code if "trust_remote_code" in str(error) else damaged
        raise ModelError(f"{name}: cannot be loaded: {reason}") from error


def reason_of(error: Exception) -> str:
    """Return the text of an error as one short line; the name of its class where it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}..."


def check_installed(extra: str = "train") -> None:
    """Check that torch and transformers are installed, before anything is downloaded for them.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("running a model folder", extra)


def prepare_transformers(threads: int, extra: str = "train") -> None:
    """Import torch and transformers, and keep their logs and progress bars off the terminal.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    check_installed(extra)
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
