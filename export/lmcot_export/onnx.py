"""Write a model as ONNX graphs through optimum, in float32 or with int8 weights."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmcot_cli.backends.torch.library import OWN_CODE_REFUSED
from lmcot_cli.errors import MissingExtraError, ModelError
from lmcot_cli.files import replacing_folder
from lmcot_cli.model_files.folder import check_model_folder
from lmcot_cli.models.hub import switched_off

DECODER, ENCODER_DECODER = "text-generation-with-past", "text2text-generation-with-past"
"""optimum's names of the tasks; both keep a KV cache."""

_QUANTIZED = ("MatMul", "Gemm", "Gather")
"""Where int8 weights pay: the projections, and the look-up of embeddings."""

_EXPORT_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError)
"""What optimum, transformers and torch raise at models that they cannot export."""


def export_onnx(source: Path, target: Path) -> Path:
    """Write a model folder as float32 graphs with a KV cache, its tokenizer beside them, and return `target`.

    Args:
        source: A folder with `config.json` and safetensors; an adapter must have been merged into it.
        target: The folder to write, replaced if it exists.

    Raises:
        MissingExtraError: optimum or its ONNX part is not installed.
        ModelError: optimum cannot export the architecture, or the folder cannot be loaded.
        OutputError: The folder cannot be written.
    """
    try:
        from optimum.exporters.onnx import main_export
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "export") from error
    if not (source / "config.json").is_file():
        raise ModelError(f"{source}: has no config.json; name a model folder")
    check_model_folder(source, OWN_CODE_REFUSED)
    with replacing_folder(target) as folder, _quiet(), _explained(source, "exported to ONNX"), switched_off():
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        task = ENCODER_DECODER if config.is_encoder_decoder else DECODER
        main_export(
            str(source),
            folder,
            task=task,
            dtype="fp32",
            do_validation=False,
            local_files_only=True,
            trust_remote_code=False,
        )
        if (folder / "decoder_model_merged.onnx").is_file():
            for part in ("decoder_model.onnx", "decoder_with_past_model.onnx"):  # what it was merged from
                (folder / part).unlink(missing_ok=True)
    return target


def quantize_onnx(source: Path, target: Path) -> Path:
    """Write float32 graphs with int8 weights, activations quantized as they come, and return `target`.

    Args:
        source: A folder that `export_onnx` wrote.
        target: The folder to write, replaced if it exists.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: A graph cannot be quantized.
        OutputError: The folder cannot be written.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError("quantizing ONNX graphs", "export") from error
    with replacing_folder(target) as folder, _quiet(), _explained(source, "quantized"):
        for file in sorted(source.iterdir()):
            if file.suffix == ".onnx":
                quantize_dynamic(
                    file,
                    folder / file.name,
                    list(_QUANTIZED),
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    extra_options={"EnableSubgraph": True},  # a merged decoder is one If with two of them
                )
            elif not file.name.endswith("_data"):
                shutil.copy2(file, folder)
    return target


@contextmanager
def _explained(source: Path, what: str) -> Iterator[None]:
    """Say in one line why a model cannot be exported; a full disk is told apart."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise ModelError(f"{source}: cannot be {what}: {_first_line(error)}") from error
    except _EXPORT_FAULTS as error:
        raise ModelError(f"{source}: cannot be {what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of tracing off the terminal: what they warn of is what verification looks at."""
    loggers = [logging.getLogger(name) for name in ("", "transformers", "optimum")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
