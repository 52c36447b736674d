"""Templates that a stranger might write: each ends in one line, as a GGUF's, a folder's and that of a prompt.

By itself this tries one of each kind. With `LMCOT_HOSTILE=1` all are run as commands of their own, each of which must
end within 5 seconds and 512 MiB; on a busy machine, `LMCOT_HOSTILE=4` gives them four times as long.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.backends.base import Request
from lmcot_cli.backends.chat import ChatTemplate
from lmcot_cli.errors import InputError, ModelError
from lmcot_cli.main import app
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_cli.prompts.options import PromptOptions

MACROS = "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}"
HOSTILE = {
    "recursion-macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "recursion-two-macros": MACROS,
    "recursion-call-block": MACROS.replace("{{ g() }}", "{% call g() %}{% endcall %}"),
    "recursion-loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "recursion-block": "{% block a %}{{ self.a() }}{% endblock %}",
    "recursion-brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "recursion-lists": "{{ " + "[" * 300 + "]" * 300 + " }}",
    "recursion-nots": "{{ " + "not " * 20_000 + "1 }}",
    "recursion-sum": "{% set x = 1 %}{{ x" + " + x" * 50_000 + " }}",
    "recursion-nested-loops": "{% for x in [1] %}" * 200 + "{% endfor %}" * 200,
    "recursion-nested-ifs": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    "memory-format-filter": "{{ '%999999999d'|format(1) }}",
    "memory-format-star": "{{ '%*d' % (999999999, 1) }}",
    "memory-format-method": "{{ '{:>999999999}'.format(1) }}",
    "memory-format-nested": "{{ '{:>{}}'.format(1, 999999999) }}",
    "memory-text-times": "{{ 'a' * 10000000000 }}",
    "memory-list-times": "{{ [0] * 1000000000 }}",
    "memory-doubling": "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "memory-lists": "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "memory-replace": "{% set s = 'a' * 40000 %}{{ s.replace('a', s) }}",
    "memory-ljust": "{{ 'a'.ljust(10000000000) }}",
    "memory-center": "{{ 'a'|center(10000000000) }}",
    "memory-batch": "{{ [1]|batch(1000000000, 'x')|list }}",
    "memory-tojson": "{{ [1]|tojson(indent=1000000000) }}",
    "memory-join": "{{ range(100000)|join('a' * 100000) }}",
    "time-ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "time-constant": "{{ 9 ** (9 ** 9) }}",
    "time-power": "{% set a = 10 %}{{ a ** (a ** 8) }}",
    "time-squares": "{% set n = namespace(x=7) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "time-lipsum": "{{ lipsum(n=10000000) }}",
    "time-sorting": "{% for a in range(99999) %}{% set s = range(99999)|sort %}{% endfor %}",
    "output-loop": "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    "output-blanks": "{% for a in range(99999) %}" + f"{' ' * 9999}{{{{ a }}}}" + "{% endfor %}",
    "output-message": "{{ raise_exception('\x1b[2J\n' * 10000000) }}",
    "output-source": "x" * 2**21,
    "attribute-class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attribute-filter": "{{ (''|attr('__class__')).x }}",
    "attribute-format": "{{ '{0.__class__.__init__.__globals__}'.format(range) }}",
    "attribute-globals": "{{ cycler.__init__.__globals__.os.popen('touch ran').read() }}",
    "attribute-self": "{{ self.__init__.__globals__ }}",
    "attribute-include": "{% include '../../../../etc/hostname' %}",
}  # fmt: skip
"""What kind of harm each does is the part of its name before the dash."""

QUICK = (
    "recursion-macro",
    "recursion-sum",
    "memory-doubling",
    "time-squares",
    "output-loop",
    "attribute-class",
)
PLACES = ("gguf", "folder", "prompts")
ALL = bool(os.environ.get("LMCOT_HOSTILE"))
MOST_SECONDS, MOST_BYTES = 5, 2**29
QUESTION = '{"question": "Where is Lyon?"}\n'


@pytest.fixture
def words(
    tmp_path: Path, tiny_folder: Callable[..., Path], hostile_gguf: Callable[[str], Path]
) -> Callable[[str, str], tuple[list[str], Path]]:
    """Write a template to where it can stand; return a command that uses it, and what its message must name."""

    def write(place: str, source: str) -> tuple[list[str], Path]:
        (tmp_path / "q.jsonl").write_text(QUESTION)
        start = ["answer", str(tmp_path / "q.jsonl"), "--method", "standard"]
        if place == "prompts":
            folder = tmp_path / "prompts"
            folder.mkdir()
            (folder / "standard.j2").write_text(source)
            (tmp_path / "script.jsonl").write_text('{"match": "", "text": "yes"}\n')
            model = f"scripted:{tmp_path / 'script.jsonl'}"
            return [*start, "--prompts", str(folder), "--large", model], folder / "standard.j2"
        model = hostile_gguf(source) if place == "gguf" else tmp_path / "model"
        if place == "folder":
            shutil.copytree(tiny_folder(chat=True), model)
            (model / "chat_template.jinja").write_text(source)
        return [*start, "--large", str(model)], model

    return write


def check_lines(error: str, named: Path) -> None:
    assert re.fullmatch(r"(?s)error: [^\n]+\n", error.replace("1 row could not be answered\n", "")), error
    assert str(named) in error
    assert len(error) < 1000
    assert error.rstrip("\n").isprintable()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_template_ends_in_one_line(
    place: str, name: str, words: Callable[..., tuple[list[str], Path]]
) -> None:
    command, named = words(place, HOSTILE[name])
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    check_lines(result.stderr, named)


@pytest.mark.skipif(not ALL, reason="minutes: with LMCOT_HOSTILE=1")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_template_ends_soon_and_takes_little(
    place: str, name: str, words: Callable[..., tuple[list[str], Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    command, named = words(place, HOSTILE[name])
    began = time.monotonic()
    code, most, computed, error = measured(
        [sys.executable, "-m", "lmcot_cli", *command], named.parent / "stderr"
    )
    took = time.monotonic() - began
    with capsys.disabled():
        print(
            f"{place:8} {name:24} {took:5.2f} s, {computed:4.2f} of CPU {most / 2**20:4.0f} MiB {error[-150:].strip()}"
        )
    assert code == 1
    check_lines(error, named)
    assert most < MOST_BYTES
    assert computed < MOST_SECONDS
    assert took < float(os.environ["LMCOT_HOSTILE"]) * MOST_SECONDS


def measured(command: list[str], errors: Path) -> tuple[int, int, float, str]:
    """Run a command; return its exit code, memory in bytes at most and CPU seconds, children's too, and messages."""
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime); sys.exit(done.returncode)"
    )
    words = [sys.executable, "-c", code, *command]
    with errors.open("wb") as file:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=file, check=False)
    largest, computed = done.stdout.split()[-2:]
    return done.returncode, 1024 * int(largest), float(computed), errors.read_text()


@pytest.mark.parametrize("harm", ["9 ** (9 ** 9)", "'a' * 10 ** 10", "lipsum(n=10 ** 7)"])
def test_a_template_that_waits_for_a_word_is_caught_by_that_row(tmp_path: Path, harm: str) -> None:
    chat = ChatTemplate(
        "{% if 'boom' in messages[-1].content %}{{ " + harm + " }}{% endif %}fine", "m.gguf", {}
    )
    assert chat.render(Request("hello", 0)) == "fine"
    with pytest.raises(ModelError, match=r"^m\.gguf: its chat template (takes|needs) more than"):
        chat.render(Request("hello boom", 0))
    assert chat.render(Request("hello", 0)) == "fine"  # in another child


@pytest.mark.parametrize("name", ["recursion-macro", "memory-doubling", "attribute-class"])
def test_a_hostile_prompt_is_told_before_a_model_is_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "cot.j2").write_text(HOSTILE[name])
    with pytest.raises(InputError, match=r"cot\.j2:1: "):
        PromptBuilder(PromptOptions(prompts=tmp_path), ["cot"])


@pytest.mark.parametrize(
    "text", ["{% include 'cot.j2' %}", "{% import 'cot.j2' as x %}", "{% extends 'cot.j2' %}"]
)
def test_a_prompt_that_is_a_part_of_itself(tmp_path: Path, text: str) -> None:
    (tmp_path / "cot.j2").write_text(text)
    with pytest.raises(InputError, match=r"cot\.j2:1: .*(without end|cot\.j2)"):
        PromptBuilder(PromptOptions(prompts=tmp_path), ["cot"])


def test_a_prompt_that_is_a_link_out_of_its_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "cot.j2").write_text("{% include 'more.txt' %}")
    (folder / "more.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"more\.txt: is a link to a file outside of"):
        PromptBuilder(PromptOptions(prompts=folder), ["cot"])
