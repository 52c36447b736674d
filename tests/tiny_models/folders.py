"""Small transformers models with random weights, written by transformers itself; see the fixture `tiny_folder`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = [
    "In the winter Ana went to Oslo and then to Rome. Her brother Ben stayed at home with the cat.",
    "Größe, 1957, naïve\tand 東京. Question: who? Answer: no one knows.",
]
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def byte_level_tokenizer(*, chat: bool = False, add_bos: bool = True) -> PreTrainedTokenizerFast:
    """Train a tokenizer of GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 0)])
    return _fast(tokenizer, CHAT_TEMPLATE if chat else None)


def sentence_piece_tokenizer(*, template: str = "<s> $A") -> PreTrainedTokenizerFast:
    """Train a tokenizer of Llama 2's kind: words begin with a mark, unknown characters are bytes."""
    unknown, bytes_ = "<unk>", [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token=unknown, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*SPECIAL, unknown, *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(template, None, [("<s>", 0), ("</s>", 1)])
    written = json.loads(
        tokenizer.to_str()
    )  # bytes are ordinary tokens in models of this kind, not added ones
    written["added_tokens"] = [added for added in written["added_tokens"] if added["content"] not in bytes_]
    return _fast(Tokenizer.from_str(json.dumps(written)), None)


def _fast(tokenizer: Tokenizer, template: str | None) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = template
    return fast


def _llama(vocabulary: int, **settings: Any) -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            **{"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
            | {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2}
            | settings,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def _qwen3(vocabulary: int, **settings: Any) -> Any:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            **sizes | {"num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256} | settings,
            initializer_range=0.2,
            eos_token_id=1,
        )
    )


def _gemma3(vocabulary: int, **settings: Any) -> Any:
    # A window of 16 in the first layer, which the prompts of the tests are longer than.
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=vocabulary,
            **sizes | {"num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256} | settings,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
            initializer_range=0.2,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


def _gpt2(vocabulary: int, **settings: Any) -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            **{"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256} | settings,
            initializer_range=0.2,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def _t5(vocabulary: int, **settings: Any) -> Any:
    # FLAN-T5's shape: gated GELU, untied output, and heads whose widths do not add up to the model's.
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=vocabulary,
            **{"d_model": 64, "d_kv": 24, "d_ff": 96, "num_layers": 2, "num_heads": 3} | settings,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            initializer_factor=3.0,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def _bart(vocabulary: int, **settings: Any) -> Any:
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocabulary,
            **{"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
            | {"decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
            | {"max_position_embeddings": 128}
            | settings,
            init_std=0.2,
            decoder_start_token_id=1,
            forced_eos_token_id=None,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


FAMILIES = {
    "llama": _llama,
    "qwen3": _qwen3,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "t5": _t5,
    "bart": _bart,
}
ENCODER_DECODERS = {"t5", "bart"}


def write_folder(
    folder: Path, family: str, tokenizer: str, chat: bool, seed: int, settings: dict[str, Any]
) -> Path:
    encoder = family in ENCODER_DECODERS
    if tokenizer == "byte" and not encoder:
        made = byte_level_tokenizer(chat=chat)
    else:
        made = sentence_piece_tokenizer(template="$A </s>" if encoder else "<s> $A")
    torch.manual_seed(seed)
    model = FAMILIES[family](len(made), **settings)
    model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
