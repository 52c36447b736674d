"""One training run: tokenizer, model, loop, and the files it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.datasets.native import to_row
from lmcot_cli.errors import OutputError
from lmcot_cli.files import replacing
from lmcot_cli.prompts.options import Stage
from lmcot_cli.prompts.render import Prompts
from lmcot_export.gguf.write import write_gguf
from lmcot_export.quantize import quantize
from tools.pretrain.examples import COPY_LAYER, Task
from tools.pretrain.loop import LoopOptions, train
from tools.pretrain.model import Llama, LlamaShape
from tools.pretrain.tokenizer import BOS, EOS, special_id, train_tokenizer

STAGES: tuple[Stage, ...] = ("standard", "cot", "guided_rationale", "guided_answer")


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """What distinguishes the models."""

    layers: int
    tasks: tuple[Task, ...]


RECIPES = {
    # Chains are longer than answers and harder, so `cot` is drawn twice as often as each other way.
    "large": ModelRecipe(6, ("cot", "cot", "guided_answer", "standard")),
    # What the embedded small LM is distilled from: it reads and restates contexts and has never seen a rationale.
    "base": ModelRecipe(4, ("restate", "restate", "standard")),
}
VOCABULARY = 2304  # every word of MicroHop's names is one token
TOKENIZER_ROWS = 3000
TOKENIZER_SEED = 9
CHECKPOINT_RECORDS = 5
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """Which model to train, where to, and for how long."""

    role: Literal["base", "large"]
    output: Path
    minutes: float
    seed: int
    threads: int


class ProgressLines:
    """Reports progress: at the first step, with every record, and after 10 seconds without a line.

    Args:
        report: Takes a line.
        minutes: The budget, in minutes of CPU time.
        clock: Tells the time in seconds, including the time of other work.
    """

    def __init__(
        self, report: Callable[[str], None], minutes: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._report, self._minutes, self._clock = report, minutes, clock
        self._next = clock()

    def step(self, step: float, minutes: float, loss: float, more: str = "") -> None:
        """Report a step, if that is due."""
        if more or self._clock() >= self._next:
            self._report(
                f"{minutes:6.2f} of {self._minutes:g} CPU min  step {step:.0f}  loss {loss:.3f}{more}"
            )
            self._next = self._clock() + PROGRESS_SECONDS

    def record(self, record: Mapping[str, float]) -> None:
        """Report a record."""
        more = f"  values {record['value_accuracy']:.3f}  mentions {record['mention_accuracy']:.3f}"
        self.step(record["step"], record["minutes"], record["loss"], more)


def run(options: PretrainOptions, report: Callable[[str], None]) -> Path:
    """Train the large LM of the embedded pair, or the base of its small one.

    Writes a folder that transformers loads (weights, configuration, tokenizer), `metrics.jsonl`, `model.f32.gguf` and
    `model.gguf` (Q8_0), and every few minutes the weights so far, as `checkpoint.safetensors`.

    Returns:
        The path of `model.gguf`.

    Raises:
        OutputError: The folder cannot be made.
    """
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{options.output}: cannot be made: {error.strerror}") from error
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    recipe = RECIPES[options.role]
    tokenizer = train_tokenizer(_tokenizer_texts(), VOCABULARY)
    model = Llama(LlamaShape(tokenizer.get_vocab_size(), layers=recipe.layers), COPY_LAYER)
    loop = LoopOptions(recipe.tasks, minutes=options.minutes, seed=options.seed)
    progress = ProgressLines(report, options.minutes)
    records = train(model, tokenizer, loop, options.output / "metrics.jsonl", watch=progress.step)
    try:
        for number, record in enumerate(records, start=1):
            if number % CHECKPOINT_RECORDS == 0:
                _keep(model, options.output)
            progress.record(record)
    except KeyboardInterrupt:
        report(f"interrupted; the weights so far are in {_keep(model, options.output)}")
        raise
    return save(model, tokenizer, options)


def save(model: Llama, tokenizer: Tokenizer, options: PretrainOptions) -> Path:
    """Write the model as transformers reads it and as GGUF; return the quantized GGUF's path."""
    folder = options.output
    save_file(_weights(model), folder / "model.safetensors", {"format": "pt"})
    save_tokenizer(tokenizer, folder, model.shape.context)
    ids: dict[str, object] = {
        "bos_token_id": special_id(tokenizer, BOS),
        "eos_token_id": special_id(tokenizer, EOS),
    }
    _write_json(folder / "generation_config.json", ids)
    _write_json(folder / "config.json", {**transformers_config(model.shape), **ids})
    full = folder / "model.f32.gguf"
    write_gguf(folder, full, "f32", name=f"lmcot MicroHop {options.role}")
    return quantize(full, folder / "model.gguf", "q8_0")


def _keep(model: Llama, folder: Path) -> Path:
    """Keep the weights so far, whole or not at all."""
    kept = folder / "checkpoint.safetensors"
    with replacing(kept) as partial:
        save_file(_weights(model), partial, {"format": "pt"})
    return kept


def _weights(model: Llama) -> dict[str, Tensor]:
    """Return the weights under transformers' names."""
    return {
        name if name.startswith("lm_head") else f"model.{name}": tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
    }


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Write the tokenizer as `AutoTokenizer` reads it; like the GGUF's, it puts `<s>` before every text."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, special_id(tokenizer, BOS))]
    )
    copy.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "add_bos_token": True,
            "clean_up_tokenization_spaces": False,
            "model_max_length": context,
        },
    )


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def transformers_config(shape: LlamaShape) -> dict[str, object]:
    """Return the `config.json` of a `LlamaForCausalLM` of this shape, without its token ids."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_base,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def _tokenizer_texts() -> Iterator[str]:
    """Yield the prompts and completions of some training records, in every stage."""
    prompts = Prompts()
    options = MicroHopOptions(rows=TOKENIZER_ROWS, seed=TOKENIZER_SEED, split="train")
    for number, record in enumerate(records(options), start=1):
        row = to_row(record, number)
        for stage in STAGES:
            yield prompts.render(stage, row, "x")
        yield f" {record['rationale']} So the answer is {record['answer']}."
