from pathlib import Path

import pytest

from lmcot_cli.backends.naming import FromSettings
from lmcot_cli.config import Config, answer_options, load_config
from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.pipeline.options import AnswerOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory beside an empty configuration folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold(folder: Path):
    assert load_config() == Config()
    assert answer_options(Config(), {}) == AnswerOptions()


def test_the_working_directory_goes_before_the_users_folder(folder: Path):
    from platformdirs import user_config_path

    write(user_config_path("lmcot") / "lmcot.toml", "[answer]\nsamples = 3\nseed = 9\n")
    assert load_config().answer["samples"] == 3
    write(Path("lmcot.toml"), "[answer]\nsamples = 5\n")
    assert load_config().answer["samples"] == 5
    assert load_config().answer.get("seed") is None


def test_a_named_file_goes_before_both(folder: Path):
    write(Path("lmcot.toml"), "[answer]\nsamples = 5\n")
    named = write(folder / "mine.toml", '[models]\nbig = "hf:a/b:c.gguf"\n')

    assert load_config(named).models == {"big": "hf:a/b:c.gguf"}
    assert load_config(named).answer.get("samples") is None


def test_flags_win_over_the_file_and_the_file_over_the_defaults(folder: Path):
    answer = '[answer]\nlarge = "big"\nsamples = 5\ntemperature = 1\nthreads = 3\nn_ctx = 512\n'
    config = load_config(write(folder / "lmcot.toml", f'[models]\nbig = "x.gguf"\n{answer}'))
    flags = {"samples": 2, "threads": 7, "seed": None, "output": Path("ignored"), "engine": "ignored"}
    options = answer_options(config, flags)

    assert (options.samples, options.temperature, options.seed) == (2, 1.0, 0)
    assert options.large == FromSettings("big")
    assert answer_options(config, {"large": "big"}).large == "big"
    assert (options.engine.threads, options.engine.n_ctx) == (7, 512)
    assert options.aliases == {"big": "x.gguf"}
    options.check()


def test_paths_are_found_beside_the_file(folder: Path):
    text = '[answer]\nprompts = "mine"\nreply_cache = "replies.sqlite"\n'
    config = load_config(write(folder / "lmcot.toml", text))

    assert config.answer.get("prompts") == folder / "mine"
    assert config.answer.get("reply_cache") == folder / "replies.sqlite"


def test_settings_of_endpoints(folder: Path):
    text = "[answer]\nrpm = 500\nmax_in_flight = 8\nrequest_timeout = 30\ncache = false\n"
    options = answer_options(
        load_config(write(folder / "lmcot.toml", text)), {"rpm": 60, "key_command": "cat k"}
    )

    assert (options.endpoint.rpm, options.endpoint.max_in_flight) == (60, 8)
    assert (options.endpoint.request_timeout, options.endpoint.cache) == (30.0, False)
    assert options.endpoint.key_command == "cat k"


@pytest.mark.parametrize("line", ['key_command = "touch ran"', "allow_plain_http_key = true"])
def test_a_file_can_neither_run_a_command_nor_loosen_how_a_key_is_kept(folder: Path, line: str):
    with pytest.raises(InputError, match="unknown key"):
        load_config(write(folder / "lmcot.toml", f"[answer]\n{line}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[answer]\nsampels = 5\n",
            "[answer] sampels: unknown key; did you mean 'samples'?",
        ),
        ("[answers]\n", "[answers]: unknown section; did you mean 'answer'?"),
        ("[zz]\n", "[zz]: unknown section; allowed are models, prices, keys, answer"),
        ('[answer]\nsamples = "5"\n', "[answer] samples: input should be a valid integer, not '5'"),
        ("[answer]\nsamples = 2.5\n", "[answer] samples: input should be a valid integer, not 2.5"),
        (
            '[answer]\nmethod = "magic"\n',
            "[answer] method: input should be 'standard', 'cot' or 'guided', not 'magic'",
        ),
        ("[models]\nbig = 3\n", "[models] big: input should be a valid string, not 3"),
        ("models = 3\n", "[models]: input should be a valid dictionary, not 3"),
        ("[answer\n", "is not valid TOML"),
        ('[answer]\nsamples = "a"\nseed = "b"\n', "; [answer] seed"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(folder: Path, text: str, message: str):
    path = write(folder / "lmcot.toml", text)

    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(folder: Path):
    with pytest.raises(InputError, match="No such file"):
        load_config(folder / "none.toml")
    with pytest.raises(InputError, match="Is a directory"):
        load_config(folder)
    (folder / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        load_config(folder / "bytes.toml")


def test_a_value_out_of_range_is_refused(folder: Path):
    with pytest.raises(UsageError):
        answer_options(load_config(write(folder / "lmcot.toml", "[answer]\nthreads = 0\n")), {})


def test_a_file_that_is_nested_too_deeply(folder: Path):
    write(Path("lmcot.toml"), "a = " + "[" * 100_000)

    with pytest.raises(InputError, match=r"lmcot\.toml: is nested too deeply"):
        load_config()
