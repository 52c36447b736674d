"""A folder that torch or ONNX Runtime runs, as verification asks it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from transformers.modeling_outputs import BaseModelOutput

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.sampling import Logits
from lmcot_cli.backends.torch.backend import FolderBackend, TransformersBackend
from lmcot_cli.backends.torch.onnx_backend import OnnxBackend
from lmcot_cli.backends.torch.sequences import to_numpy
from lmcot_export.verify.subject import RATE_SEQUENCES, SpecialTokens


class FolderSubject:
    """A model folder, as the backend that runs it loads it; see `Subject`.

    Args:
        backend: The model, closed by `close`.
        type: How its weights are stored.
        files: Those that hold the weights.
    """

    def __init__(self, backend: FolderBackend, type: str, files: Sequence[Path]) -> None:
        self.backend = backend
        self.type = type
        self.bytes = sum(file.stat().st_size for file in files)
        self.special = _special_tokens(backend)

    @property
    def weights(self) -> int:
        """How many weights the model has, tied ones once; torch models only."""
        return sum(parameter.numel() for parameter in self.backend.model.parameters())

    def render(self, prompt: str) -> str:
        """Render a prompt; see `Subject.render`."""
        return self.backend.vocabulary.prompt_text(Request(prompt, seed=0))

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Tokenize a prompt; see `Subject.prompt_tokens`."""
        return self.backend.vocabulary.prompt_tokens(Request(prompt, seed=0))

    def text_tokens(self, text: str) -> list[int]:
        """Tokenize text; see `Subject.text_tokens`."""
        return self.backend.vocabulary.encode_text(text)

    def logits(self, prompt: Sequence[int], written: Sequence[int]) -> Logits:
        """Compute the logits of a text; see `Subject.logits`."""
        start = self.backend.decoder_start
        with torch.inference_mode():
            if start is None:
                tokens = torch.tensor([[*prompt, *written]])
                return to_numpy(self._decoder_logits(tokens))
            return to_numpy(self._encoder_decoder_logits(torch.tensor([list(prompt)]), [start, *written]))

    def rate(self, steps: int) -> float:
        """Measure the decoding rate; see `Subject.rate`."""
        with torch.inference_mode():
            sequences = self.backend.begin([(token,) for token in range(RATE_SEQUENCES)])
            sequences.append(range(RATE_SEQUENCES))  # the first step of a shape also plans its memory
            begin = time.perf_counter()
            for _ in range(steps):
                sequences.append(range(RATE_SEQUENCES))
        return steps * RATE_SEQUENCES / (time.perf_counter() - begin)

    def close(self) -> None:
        """Free the model."""
        self.backend.close()

    def _decoder_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.backend.model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens)
        ).logits[0]
        return logits

    def _encoder_decoder_logits(self, prompt: torch.Tensor, written: Sequence[int]) -> torch.Tensor:
        model, mask = self.backend.model, torch.ones_like(prompt)
        encoded = model.get_encoder()(input_ids=prompt, attention_mask=mask).last_hidden_state
        logits: torch.Tensor = model(
            encoder_outputs=BaseModelOutput(encoded),
            attention_mask=mask,
            decoder_input_ids=torch.tensor([list(written)]),
        ).logits[0]
        return logits


def open_source(folder: Path, threads: int) -> FolderSubject:
    """Open a model folder in torch, in float32.

    Raises:
        ModelError: It cannot be loaded.
    """
    options = EngineOptions(threads=threads, device="cpu", dtype="float32")
    return FolderSubject(TransformersBackend(folder, options), "f32", sorted(folder.glob("*.safetensors")))


def open_onnx(folder: Path, threads: int) -> FolderSubject:
    """Open a folder of ONNX graphs.

    Raises:
        ModelError: It cannot be loaded.
    """
    files = sorted([*folder.glob("*.onnx"), *folder.glob("*.onnx_data")])
    return FolderSubject(OnnxBackend(folder, EngineOptions(threads=threads)), _onnx_type(files), files)


def _onnx_type(files: Sequence[Path]) -> str:
    """Name the type by whether any graph has 8-bit weights."""
    graphs = [onnx.load(file, load_external_data=False).graph for file in files if file.suffix == ".onnx"]
    types = {tensor.data_type for graph in graphs for tensor in graph.initializer}
    return "onnx-int8" if types & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} else "onnx"


def _special_tokens(backend: FolderBackend) -> SpecialTokens:
    tokenizer = backend.vocabulary.tokenizer
    tokens = tokenizer("a").input_ids
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return SpecialTokens(
        bos=bos,
        eos=eos,
        ends=backend.vocabulary.ends,
        adds_bos=bos is not None and tokens[:1] == [bos],
        adds_eos=eos is not None and tokens[-1:] == [eos],
        has_template=backend.vocabulary.template is not None,
    )
