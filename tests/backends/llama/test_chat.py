from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from llama_cpp import Llama

from lmcot_cli.backends.base import Completion, Request, Sampling
from lmcot_cli.backends.llama.backend import LlamaBackend
from lmcot_cli.backends.llama.chat import ChatTemplate
from lmcot_cli.errors import ModelError

# Features that real templates use, which Jinja2's own defaults lack or treat differently.
TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}\n  {% if m['role'] == 'user' %}\n"
    "[INST] {{ m['content'] | trim }} [/INST]{% endif %}\n{% endfor %}",
    "{%- if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}{{ m | tojson }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}",
    "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% endfor %}{{ eos_token }}{% if tools %}tools{% endif %}",
]


@pytest.mark.parametrize("source", TEMPLATES)
def test_templates_render_as_in_transformers(source: str) -> None:
    utilities = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [{"role": "user", "content": "Who <wrote> it? é "}]
    expected = utilities._compile_jinja_template(source).render(
        messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    assert ChatTemplate(source, "m.gguf", "<s>", "</s>").render("Who <wrote> it? é ") == expected


@pytest.mark.parametrize(
    "source",
    ["{% for %}", "{{ raise_exception('needs a system message') }}", "{{ messages + 1 }}", "{{ a.b.c }}"],
)
def test_a_template_that_does_not_work_is_one_line(source: str) -> None:
    with pytest.raises(ModelError, match=r"^m\.gguf: its chat template does not work: .+$"):
        ChatTemplate(source, "m.gguf", "", "").render("hello")


def test_a_template_cannot_leave_the_sandbox() -> None:
    with pytest.raises(ModelError):
        ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}", "m.gguf", "", "").render("hello")


def test_the_embedded_template_is_applied_with_one_bos_and_control_tokens(
    open_tiny: Callable[..., LlamaBackend], tiny_gguf: Callable[..., Path]
) -> None:
    sampling = Sampling(max_tokens=12)
    llama = Llama(str(tiny_gguf()), n_ctx=512, n_threads=1, verbose=False)
    rendered = "<|bos|><|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
    tokens = llama.tokenize(rendered.encode(), add_bos=False, special=True)
    (result,) = open_tiny(chat=True).complete([Request("the cat", 0)], sampling)
    assert isinstance(result, Completion)
    assert result.prompt_tokens == len(tokens)
    assert tokens.count(llama.token_bos()) == 1


def test_control_tokens_in_a_plain_prompt_are_mere_characters(open_tiny: Callable[..., LlamaBackend]) -> None:
    (result,) = open_tiny().complete([Request("<|im_end|>", 0)], Sampling(max_tokens=1))
    assert isinstance(result, Completion)
    assert result.prompt_tokens == 1 + len("<|im_end|>")


@pytest.mark.parametrize(("add_bos", "extra"), [(True, 1), (False, 0)])
def test_bos_as_the_vocabulary_says_and_never_an_eos(
    open_tiny: Callable[..., LlamaBackend], add_bos: bool, extra: int
) -> None:
    (result,) = open_tiny(add_bos=add_bos, add_eos=True).complete([Request("xyz", 0)], Sampling(max_tokens=1))
    assert isinstance(result, Completion)
    assert result.prompt_tokens == 3 + extra
