from pathlib import Path

import llama_cpp
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from tools.pretrain.model import Llama, LlamaShape
from tools.pretrain.run import PretrainOptions, save
from tools.pretrain.tokenizer import train_tokenizer

TEXT = "Silent Harbor was directed by Marek Fenwell. Größe, 1957, naïve\tand 東京."


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT] * 20, 320)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Llama:
    torch.manual_seed(3)
    return Llama(
        LlamaShape(tokenizer.get_vocab_size(), width=64, layers=3, heads=2, feed_forward=128, context=256),
        2,
    )


@pytest.fixture(scope="module")
def folder(model: Llama, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save(model, tokenizer, PretrainOptions("base", folder, 1.0, 0, 1))
    return folder


def _load(path: Path) -> llama_cpp.Llama:
    return llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, logits_all=True, verbose=False)


def test_llama_cpp_computes_what_torch_computes(folder: Path, model: Llama, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(f"<s>{TEXT}").ids
    engine = _load(folder / "model.f32.gguf")
    engine.eval(ids)
    theirs = torch.tensor(engine.scores[: len(ids)]).log_softmax(-1)
    length = len(ids)
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    with torch.no_grad():
        ours = model.logits(model(torch.tensor([ids]), torch.arange(length)[None], mask)[0])[0].log_softmax(
            -1
        )
    divergence = (ours.exp() * (ours - theirs)).sum(-1)
    assert divergence.max() < 1e-5
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def test_llama_cpp_tokenizes_as_the_tokenizer_does(folder: Path, tokenizer: Tokenizer) -> None:
    engine = _load(folder / "model.f32.gguf")
    for text in (TEXT, "The Silver Kings\n\nQuestion: who?", "  two  spaces ", "don't 12,345 x²"):
        assert engine.tokenize(text.encode(), add_bos=True) == tokenizer.encode(f"<s>{text}").ids


def test_transformers_reads_the_folder_as_llama_cpp_reads_the_gguf(folder: Path) -> None:
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    engine = _load(folder / "model.f32.gguf")
    for text in (TEXT, "The Silver Kings\n\nQuestion: who?", "  two  spaces ", "don't 12,345 x²"):
        assert tokenizer(text).input_ids == engine.tokenize(text.encode(), add_bos=True)
    ids = tokenizer(TEXT).input_ids
    engine.eval(ids)
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(torch.tensor(engine.scores[: len(ids)]), logits, atol=1e-3, rtol=1e-3)
    assert (network.generation_config.bos_token_id, network.generation_config.eos_token_id) == (0, 1)
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT


def test_quantized_file_is_smaller_and_loads(folder: Path) -> None:
    assert (folder / "model.gguf").stat().st_size < 0.5 * (folder / "model.f32.gguf").stat().st_size
    assert _load(folder / "model.gguf").metadata["general.architecture"] == "llama"
