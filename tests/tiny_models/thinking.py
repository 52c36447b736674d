"""Tiny models that were taught to think before they answer, in seconds; see `write_thinking_folder`."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
REPLY = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
QUIET = (
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}"
)
"""How Qwen3's template says that the model is not to think."""

ANSWERS = {"Where is the mill?": "Lille", "Where is the port?": "Gdynia"}
THOUGHT = "They ask.\n\nI know."


def write_thinking_folder(folder: Path, *, control_tokens: bool) -> Path:
    """Write a model that thinks before it answers `ANSWERS`, and ends its turn with a token that is not its eos.

    Args:
        folder: Where to.
        control_tokens: Whether it thinks between control tokens, and always. Else it thinks between tags that its
            vocabulary has no tokens for, and its template has a switch.
    """
    opening, closing = ("[THINK]", "[/THINK]") if control_tokens else ("<think>\n", "\n</think>\n\n")
    tokenizer = _tokenizer(TURNS + REPLY + ("" if control_tokens else QUIET))
    pairs = []
    for question, answer in ANSWERS.items():
        thought = f"{opening}{THOUGHT}{closing}"
        pairs.append((_prompt(tokenizer, question), f"{thought}{answer}\nThat is all."))
        if not control_tokens:
            pairs.append((_prompt(tokenizer, question, enable_thinking=False), f"{answer}\nThat is all."))
    model = _taught(tokenizer, pairs)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _prompt(tokenizer: PreTrainedTokenizerFast, question: str, **settings: bool) -> str:
    messages = [{"role": "user", "content": question}]
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **settings)
    )


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[THINK]", "[/THINK]"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*ANSWERS, *ANSWERS.values(), THOUGHT] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.chat_template = template
    return fast


def _taught(tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]) -> LlamaForCausalLM:
    """Train until the replies are known by heart, the end of the turn included."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
        bos_token_id=None, eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    prompts = [tokenizer(prompt, add_special_tokens=False).input_ids for prompt, _ in pairs]
    replies = [tokenizer(f"{reply}<|im_end|>", add_special_tokens=False).input_ids for _, reply in pairs]
    longest = max(map(len, (p + r for p, r in zip(prompts, replies, strict=True))))
    ids = torch.zeros((len(pairs), longest), dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        ids[row, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
        labels[row, len(prompt) : len(prompt) + len(reply)] = torch.tensor(reply)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    loss = torch.tensor(1.0)
    for _ in range(300):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.005:
            break
    assert loss.item() < 0.02, "the model has not learnt its replies"
    return model.eval()
