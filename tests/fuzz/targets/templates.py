"""Templates of prompts and of chats, which run in the child that holds them to limits."""

from __future__ import annotations

from pathlib import Path

from lmcot_cli.backends.base import Request, Shot
from lmcot_cli.backends.chat import ChatTemplate
from lmcot_cli.prompts import render
from lmcot_cli.prompts.render import Prompts
from tests.fuzz.target import Target, folder_of, text_of
from tests.fuzz.targets.replies import ROW

OWN = tuple((Path(render.__file__).parent / name).read_bytes() for name in ("cot.j2", "_question.j2"))
CHAT = b"""{%- for message in messages %}{% if message['role'] == 'system' and enable_thinking is defined %}
{{ message.content | trim }}{% elif loop.index0 % 2 %}{{ raise_exception('no') }}{% endif %}
{{- bos_token + '<|' + message['role'] + '|>' + message['content'] | tojson }}{% generation %}x{% endgeneration %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
REQUEST = Request("Who?\x1c{{ 7 * 6 }}", 1, "Be brief.", (Shot("a", "b"),))


def prompts(data: bytes) -> None:
    """Render a prompt by somebody's template."""
    with folder_of(cot_j2=data) as folder:
        templates = Prompts(folder)
        assert isinstance(templates.render("cot", ROW), str)
        templates.markers("cot")
        templates.digest()


def chats(data: bytes) -> None:
    """Render a conversation by a model's template."""
    template = ChatTemplate(
        text_of(data), "model", {"bos_token": "<s>", "eos_token": "</s>"}, ("<s>", "<|user|>")
    )
    assert all(template.parts(REQUEST, thinking) is not None for thinking in ("off", "on"))  # type: ignore[arg-type]
    assert isinstance(template.turn_end, str)


TARGETS = {
    "prompt_templates": Target(prompts, OWN, widens=False),
    "chat_templates": Target(
        chats, (b"{% for m in messages %}{{ m.content }}{% endfor %}", CHAT), widens=False
    ),
}
