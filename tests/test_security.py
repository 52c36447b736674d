"""What SECURITY.md promises and no other test holds: rows are values, and settings and templates run nothing."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.config import ANSWER
from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_cli.errors import InputError
from lmcot_cli.main import app
from lmcot_cli.prompts.render import Prompts

ROOT = Path(__file__).parents[1]


def row(question: str) -> Row:
    return Row("q1", question, (Paragraph("Lyon", (question,)),), (), None, None, 1)


@pytest.mark.parametrize("stage", ["standard", "cot", "guided_rationale", "guided_answer"])
@pytest.mark.parametrize("text", ["{{ 6 * 7 }}", "{% raw %}", "{# hidden #}", "{% include 'cot.j2' %}"])
def test_what_looks_like_a_template_in_a_row_or_a_rationale_stays_text(stage: str, text: str) -> None:
    prompt = Prompts().render(stage, row(text), rationale=text)  # type: ignore[arg-type]
    assert text in prompt
    assert "42" not in prompt


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__[1].__subclasses__()",
        "row.__class__.__init__.__globals__",
        "row.__init__.__globals__['__builtins__']['open']('x')",
        "cycler.__init__.__globals__.os.popen('touch ran')",
        "lipsum.__globals__['os'].system('touch ran')",
        "(lambda: 0)",
        "row.passages.append(1)",
        "''|attr('__class__')|attr('__mro__')",
        "'{0.__class__.__init__.__globals__}'.format(row)",
        "self.__init__.__globals__",
        "range(10 ** 9)|list",
    ],
)
def test_a_template_cannot_reach_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cot.j2").write_text("{{ " + expression + " }}")
    with pytest.raises(InputError, match=r"cot\.j2"):
        Prompts(tmp_path).render("cot", row("?"))
    assert [path.name for path in tmp_path.iterdir()] == ["cot.j2"]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_a_template_cannot_read_files_of_other_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("the secret")
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "cot.j2").write_text("{% include '" + name + "' %}")
    with pytest.raises(InputError, match="there is no template"):
        Prompts(folder).render("cot", row("?"))


def test_rows_name_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["../escaped", "/escaped", "a/b", "..", "out.jsonl", "\x1b[2J", "$(touch ran)", "`touch ran`"]
    rows = [{"id": name, "question": name, "context": name, "answer": name, "type": name} for name in names]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "../escaped; touch ran"}\n')
    words = [
        "answer",
        "q.jsonl",
        "--method",
        "standard",
        "--large",
        "scripted:script.jsonl",
        "-o",
        "out.jsonl",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found == {"q.jsonl", "script.jsonl", "out.jsonl", "out.jsonl.run.json"}


def test_no_code_evaluates_unpickles_or_opens_a_shell() -> None:
    banned = {"eval", "exec", "compile", "pickle", "cPickle", "dill", "marshal", "shelve", "system", "popen"}
    found = []
    for path in (
        path for folder in ("lmcot_cli", "train", "export") for path in (ROOT / folder).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in names(node) if name in banned
            ]
            if isinstance(node, ast.keyword) and node.arg in ("shell", "trust_remote_code", "allow_pickle"):
                asked_for = ast.unparse(node.value) in ("options.trust_remote_code", "trust_remote_code")
                assert asked_for or ast.unparse(node.value) == "False", f"{path}:{node.lineno}"
    assert found == []


def test_code_that_comes_with_a_model_is_run_for_who_asks_on_the_command_line_only() -> None:
    assert EngineOptions().trust_remote_code is False
    assert "trust_remote_code" not in ANSWER.model_fields


def test_each_line_of_what_holds_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    holds = text.partition("## What holds\n")[2].partition("\n## ")[0]
    lines = [" ".join(line.split()) for line in holds.split("\n- ")[1:]]
    assert len(lines) > 20
    assert [line for line in lines if "(`tests/" not in line] == []
    named = re.findall(r"`(tests/[\w/.-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def names(node: ast.AST) -> list[str]:
    """Return what a node calls or imports, by the names that are looked for."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").partition(".")[0], *(alias.name for alias in node.names)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return [node.func.id]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
        return [node.attr]
    return []
