import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lmcot_cli import __version__
from lmcot_cli.errors import InputError, LmcotError, MissingExtraError, UsageError
from lmcot_cli.main import COMMANDS, ErrorBoundary, app, load_command


def failing_app(error: BaseException) -> typer.Typer:
    failing = typer.Typer(cls=ErrorBoundary)

    @failing.command()
    def fail() -> None:
        raise error

    @failing.command()
    def other() -> None: ...

    return failing


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_table_is_that_of_the_command(name: str):
    first, *_ = load_command(name).help.split("\n\n")

    assert COMMANDS[name].help == " ".join(first.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str):
    result = CliRunner().invoke(app, [name, "--help"])

    assert result.exit_code == 0
    assert f"lmcot {name}" in result.stdout
    assert "--install-completion" not in result.stdout


@pytest.mark.parametrize(
    "command", ["answer", "eval", "compare", "data convert", "data inspect", "data synth", "models show"]
)
def test_help_shows_an_example(command: str):
    shown = CliRunner().invoke(app, [*command.split(), "--help"]).stdout

    assert f"lmcot {command} " in shown.split("Examples")[1]


def every_command() -> list[str]:
    """Name all commands, those inside `data`, `train` and `models` included."""
    inner = [f"{name} {one}" for name in COMMANDS for one in getattr(load_command(name), "commands", ())]
    return [*COMMANDS, *inner]


@pytest.mark.parametrize("command", every_command())
def test_help_is_not_cut_off_on_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    shown = CliRunner().invoke(app, [*command.split(), "--help"])

    assert shown.exit_code == 0
    assert "…" not in shown.stdout


def test_help_is_wrapped_to_the_terminal_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    shown = CliRunner().invoke(app, ["train", "all", "--help"]).stdout

    assert "A stage is skipped if its\n output is there and nothing that it was made from has" in re.sub(
        " +\n", "\n", shown
    )


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest():
    result = CliRunner().invoke(app, ["anser"])

    assert result.exit_code == 2
    assert result.stderr == "error: no such command 'anser'; did you mean 'answer'? See lmcot --help\n"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--verson", "no such option: --verson; did you mean --version? See lmcot --help"),
        ("answer --sampels 2", "no such option: --sampels; did you mean --samples"),
        ("answer --samples x", "invalid value for '--samples' / '-k': Input should be a valid integer"),
        (
            "answer --method guidd",
            "'guidd' is not one of 'standard', 'cot', 'guided'; did you mean 'guided'?",
        ),
        ("answer a b", "got unexpected extra argument(s) (b); see lmcot answer --help"),
        ("eval", "missing argument 'ANSWERS'; see lmcot eval --help"),
        ("data nothing", "no such command 'nothing'; see lmcot data --help"),
    ],
)
def test_what_is_typed_wrong_is_one_line(typed: str, message: str):
    result = CliRunner().invoke(app, typed.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_group_without_a_command_shows_its_help():
    result = CliRunner().invoke(app, ["data"])

    assert result.exit_code == 2
    assert "Usage: lmcot data" in result.output


@pytest.mark.parametrize("command", ["", *every_command()])
def test_a_switch_has_no_type_in_the_help(command: str):
    assert "<bool>" not in CliRunner().invoke(app, [*command.split(), "--help"]).stdout


def test_the_shell_completes_commands_and_their_options():
    def completed(line: str) -> str:
        variables = {
            "_LMCOT_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        code = "import sys; from lmcot_cli.main import app; app(prog_name='lmcot')"
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables
        ).stdout

    assert "answer" in completed("lmcot an")
    assert "--samples" in completed("lmcot answer --sam")
    assert completed("lmcot models show b").split() == ["builtin:small", "builtin:large"]
    assert completed("lmcot models pull smollm2-3").split() == ["smollm2-360m"]


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("answer --small buil", "builtin:small builtin:large"),
        ("answer --small builtin :", "small large"),
        ("answer --small builtin : s", "small"),
        ("answer --small = builtin : s", "small"),
        ("answer --small 'builtin:s", "builtin:small"),
        ("answer --small builtin : small --large builtin : l", "large"),
        ("models show builtin : l", "large"),
    ],
)
def test_bash_completes_a_word_that_it_splits_at_colons(words: str, completions: str, tmp_path: Path):
    program = tmp_path / "lmcot"
    program.write_text(f"#!{sys.executable}\nfrom lmcot_cli.__main__ import main\nmain()\n")
    program.chmod(0o755)
    script = f"""
export PATH="$PWD:$PATH"
source <(_LMCOT_COMPLETE=source_bash lmcot)
COMP_WORDS=(lmcot {words.replace("'", chr(92) + "'")})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_lmcot_completion lmcot
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert (done.stdout, done.stderr) == (f"{completions}\n", "")


def test_version():
    result = CliRunner().invoke(app, ["--version"])

    assert (result.exit_code, result.stdout) == (0, f"lmcot {__version__}\n")


def test_help_shows_the_commands_and_examples():
    result = CliRunner().invoke(app, ["--help"], terminal_width=120)

    assert result.exit_code == 0
    assert "answer" in result.stdout
    assert "lmcot answer questions.jsonl" in result.stdout
    assert "--install-completion" in result.stdout
    assert "[bold]" not in result.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LmcotError("odd [train]"), 1),
        (InputError("q.jsonl:3: odd [train]"), 1),
        (UsageError("odd [train]"), 2),
        (MissingExtraError("train", "train"), 3),
    ],
)
def test_our_errors_are_one_line_with_their_exit_code(error: LmcotError, code: int):
    result = CliRunner().invoke(failing_app(error), ["fail"])

    assert result.exit_code == code
    assert result.stderr == f"error: {error}\n"
    assert result.stdout == ""


def test_a_bug_keeps_its_traceback():
    result = CliRunner().invoke(failing_app(ValueError("a bug")), ["fail"])

    assert isinstance(result.exception, ValueError)


def test_an_interrupt_is_exit_code_130():
    assert CliRunner().invoke(failing_app(KeyboardInterrupt()), ["fail"]).exit_code == 130


def test_help_starts_in_under_three_times_a_bare_import_of_typer():
    def seconds(code: str) -> float:
        """Measure processor time, which other work on the machine disturbs less than time on the clock."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def best(code: str) -> float:
        return min(seconds(code) for _ in range(5))

    lmcot = best("import sys; sys.argv = ['lmcot', '--help']; from lmcot_cli.main import main; main()")
    assert lmcot < 3 * best("import typer")


def test_an_interrupt_while_the_app_loads_is_exit_code_130_without_a_traceback():
    code = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from lmcot_cli.__main__ import main
main()
"""
    result = python(code)

    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_the_module_runs_like_the_script():
    result = subprocess.run([sys.executable, "-m", "lmcot_cli", "--version"], capture_output=True, text=True)

    assert result.stdout == f"lmcot {__version__}\n"


def test_an_error_is_one_line_without_control_characters():
    result = CliRunner().invoke(failing_app(InputError("a\x1b[31m  b\nc\udcff")), ["fail"])

    assert result.stderr == "error: a\\x1b[31m  b\\nc\\udcff\n"


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ("<&-", "error: standard input: is empty"),
        (">&- <<< '{\"question\": 1}'", "error: standard output: cannot be written: Bad file descriptor"),
    ],
)
def test_a_closed_stream_is_one_line(closed: str, message: str):
    command = f"{sys.executable} -m lmcot_cli data inspect - {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith(message)
    assert "Traceback" not in done.stderr


def test_the_help_of_answer_lists_the_options_that_people_use_and_names_the_rest(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("COLUMNS", "100")

    def shown(option: str) -> tuple[str, list[str]]:
        text = CliRunner().invoke(app, ["answer", option]).stdout
        return text, re.findall(r"^│ +(--[\w-]+)", text, re.MULTILINE)

    text, common = shown("-h")
    assert len(common) == 22
    assert {"--samples", "--output", "--help-all", "--help"} <= set(common)
    assert "[default: guided]" in text
    assert len(shown("--help-all")[1]) > 70
