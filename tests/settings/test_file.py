"""What lies under the name of a settings file is read once, without waiting, and not beyond a size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmcot_cli.config import load_config
from lmcot_cli.errors import InputError
from lmcot_cli.settings import file as settings_file
from lmcot_cli.settings.file import MOST_BYTES, SettingsFile, Standing, find_file, own_path


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "work"


def own(text: str) -> Path:
    own_path().parent.mkdir(parents=True, exist_ok=True)
    own_path().write_text(text)
    return own_path()


def test_a_file_is_found_here_or_the_users_own_or_named(work: Path) -> None:
    assert find_file() is None
    own("# own")
    assert find_file() == SettingsFile(own_path(), Standing.OWN, b"# own")
    (work / "lmcot.toml").write_text("# here")
    assert find_file() == SettingsFile(Path("lmcot.toml"), Standing.FOUND, b"# here")
    assert find_file(Path("lmcot.toml")) == SettingsFile(Path("lmcot.toml"), Standing.NAMED, b"# here")
    assert find_file(own_path()) == SettingsFile(own_path(), Standing.OWN, b"# own")


def test_in_ones_own_configuration_folder_the_file_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own('[answer]\nreply_cache = "replies"\nlarge = "openai:m"\n')
    monkeypatch.chdir(own_path().parent)
    file = find_file()
    assert file is not None
    assert (file.standing, file.in_working_directory) == (Standing.OWN, False)
    assert load_config().answer.get("large") == "openai:m"


def test_a_link_to_the_users_own_file_is_a_file_of_the_working_directory(work: Path) -> None:
    (work / "lmcot.toml").symlink_to(own('[answer]\nprompts = "mine"\n'))  # it would take its paths from here
    file = find_file()
    assert file is not None
    assert file.standing is Standing.FOUND
    assert file.place == work / "lmcot.toml"


def test_a_link_that_leads_nowhere_is_no_file(work: Path) -> None:
    (work / "lmcot.toml").symlink_to(work / "nothing")
    assert find_file() is None


def test_a_home_that_is_no_folder_holds_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")  # as services have it
    assert find_file() is None


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop"])
def test_what_is_no_regular_file_is_refused_without_waiting(work: Path, kind: str) -> None:
    path = work / "lmcot.toml"
    makers = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "loop": lambda: path.symlink_to(path),
    }
    makers[kind]()
    with pytest.raises(InputError, match=r"^lmcot\.toml: (is not a regular file|cannot be read)"):
        find_file()


def test_a_huge_file_is_refused_and_not_read_whole(work: Path) -> None:
    with (work / "lmcot.toml").open("wb") as file:
        file.truncate(1 << 40)
    for named in (None, Path("lmcot.toml"), Path("/dev/zero")):
        with pytest.raises(InputError, match="is larger than 256 KiB"):
            find_file(named)


def test_a_file_goes_without_settings_where_none_are_wanted(work: Path) -> None:
    (work / "lmcot.toml").write_text("[answer]\nsamples = 3\n")
    assert load_config(Path(os.devnull)).answer == {}


def test_what_is_parsed_is_what_was_read(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "lmcot.toml").write_text("[answer]\nsamples = 3\n")
    found = settings_file.find_file()
    monkeypatch.setattr("lmcot_cli.config.find_file", lambda path: found)
    (work / "lmcot.toml").write_text(
        '[answer]\nlarge = "https://a.example/v1#m"\n'
    )  # while it is being checked
    assert (load_config().answer.get("samples"), load_config().answer.get("large")) == (3, None)


@pytest.mark.parametrize(
    "text",
    [
        "models" + ".a" * 60_000 + " = 1",
        "models" + ' . "\\"."' * 20_000 + " = 1",
        "[" + "'.'." * 60_000 + "a]",
        "x" * 200_000,
        "x = '" + "a." * 47 + "'" + " " * 200_000,
        '"' * 200_000,
        "[models]\nx = " + "[" * 100_000,
        "[models]\nx = {" + "a = {" * 10_000,
        f"[answer]\nsamples = '{'x' * (MOST_BYTES - 100)}'",
        "[answer]\nsamples = " + "9" * 5000,
        "[answer]\ntemperature = 0x" + "f" * 5000,
        "[answer]\nchoices = [{ a = 0x" + "f" * 5000 + " }]",
        "[prices]\n" + "".join(f"a{number} = 5\n" for number in range(5000)),
        f"[answer]\n{'x' * 200_000} = 1",
    ],
    ids=[
        *("dotted", "quoted", "table", "word", "spaces", "quotes", "lists", "tables", "long"),
        *("digits", "hexadecimal", "within", "many", "name"),
    ],
)
def test_a_hostile_file_ends_in_a_short_line(work: Path, text: str) -> None:
    (work / "lmcot.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_config()
    assert len(str(caught.value)) < 1000
