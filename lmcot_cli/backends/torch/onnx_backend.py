"""The `Backend` of ONNX folders: the graphs that `lmcot export --format onnx` writes, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.torch.backend import FolderBackend
from lmcot_cli.backends.torch.checkpoint import ONNX_SCHEME, Checkpoint, check_onnx_folder
from lmcot_cli.backends.torch.library import check_installed, loading
from lmcot_cli.errors import MissingExtraError, ModelError, UsageError


class OnnxBackend(FolderBackend):
    """A folder of ONNX graphs with a KV cache, run on the CPU.

    Args:
        path: The folder.
        options: Settings of the engine.
        spec: What the user called the model; by default `onnx:PATH`.

    Raises:
        MissingExtraError: A package of the extra is not installed.
        UsageError: A device other than the CPU.
        ModelError: The folder holds no such graphs, or they cannot be loaded.
    """

    def __init__(self, path: Path, options: EngineOptions | None = None, spec: str | None = None) -> None:
        options = options or EngineOptions()
        check_installed("export")
        check_onnx_folder(path)
        super().__init__(Checkpoint(path, graphs=True), options, spec or f"{ONNX_SCHEME}{path}", "export")

    def _load(self, config: Any, options: EngineOptions) -> Any:
        if options.device not in (None, "cpu"):
            raise UsageError(f"--device {options.device}: ONNX models run on the CPU; leave the option out")
        try:
            from onnxruntime import SessionOptions
            from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM
        except ImportError as error:
            raise MissingExtraError("running an ONNX model", "export") from error
        session = SessionOptions()
        session.intra_op_num_threads = options.threads
        session.log_severity_level = 3
        kind = ORTModelForSeq2SeqLM if config.is_encoder_decoder else ORTModelForCausalLM
        folder = self._checkpoint.base
        with loading(folder):
            model = kind.from_pretrained(
                folder,
                config=config,
                session_options=session,
                use_io_binding=False,
                local_files_only=True,
                trust_remote_code=options.trust_remote_code,
            )
        if not model.can_use_cache:
            raise ModelError(f"{folder}: its graphs have no KV cache; export with lmcot export --format onnx")
        _mend_head_width(model, config)
        return model


def _mend_head_width(model: Any, config: Any) -> None:
    """Tell optimum the width of a head where it is not the model's width divided by the number of heads.

    Qwen3 (`head_dim`) and T5 (`d_kv`) have a setting of their own, which optimum 2.1 ignores when it makes the empty
    cache of a first step.
    """
    width = getattr(config, "head_dim", None) or getattr(config, "d_kv", None)
    parts: list[Any] = [model, getattr(model, "decoder", None), getattr(model, "decoder_with_past", None)]
    for part in parts:
        if width is not None and hasattr(part, "embed_size_per_head"):
            part.embed_size_per_head = width
