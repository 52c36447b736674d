"""What loading with transformers needs: that it is there, keeps quiet, and has its errors told in one line."""

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
    """Turn whatever the libraries raise at what a model's folder holds into one line that names it.

    They ask the hub for nothing meanwhile: what the user named is on the disk by then.

    Args:
        name: The folder or hub id.
        own_code: What is said of a model that brings code of its own.

    Raises:
        ModelError: Something was raised that is no error of ours.
    """
    try:
        with switched_off():
            yield
    except LmcotError:
        raise
    except Exception as error:
        # Broad on purpose. These files come from anywhere, and what transformers, tokenizers, jinja, peft and
        # safetensors raise at damaged ones is no list that could be kept: of KeyError and ZeroDivisionError, of
        # RecursionError, of a bare Exception. The cause stays chained, for who looks for a bug of ours in here.
        damaged = f"{reason_of(error)}; if it is damaged, fetch or save it anew"
        reason = own_code if "trust_remote_code" in str(error) else damaged
        raise ModelError(f"{name}: cannot be loaded: {reason}") from error


def reason_of(error: Exception) -> str:
    """Return what was raised in one line, not too long; where it has no text, what kind of error it was."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}..."


def check_installed(extra: str = "train") -> None:
    """Tell that torch or transformers is missing, before anything is fetched for them.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("running a model folder", extra)


def prepare_transformers(threads: int, extra: str = "train") -> None:
    """Import what loads models, and keep its log and progress bars off the terminal.

    Args:
        threads: Threads that compute.
        extra: The optional extra that brings what is needed.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("running a model folder", extra) from error
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
