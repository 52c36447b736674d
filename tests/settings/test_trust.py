"""What the user has confirmed is remembered by path and digest, for its owner alone."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lmcot_cli.errors import InputError, UnconfirmedSettingsError
from lmcot_cli.settings.file import SettingsFile, Standing
from lmcot_cli.settings.trust import check_trust, is_trusted, list_path, nobody_confirms

REACHED = ("send questions to a.example",)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def here(content: bytes = b"a") -> SettingsFile:
    return SettingsFile(Path("lmcot.toml"), Standing.FOUND, content)


def yes(file: SettingsFile, reached: Sequence[str]) -> bool:
    return True


def test_what_reaches_nothing_needs_no_confirmation() -> None:
    check_trust(here(), (), nobody_confirms)
    assert not list_path().exists()


def test_a_confirmed_file_is_asked_about_once(work: Path) -> None:
    with pytest.raises(UnconfirmedSettingsError, match=r"it would send questions to a\.example"):
        check_trust(here(), REACHED, nobody_confirms)
    check_trust(here(), REACHED, yes)
    check_trust(here(), REACHED, nobody_confirms)
    assert json.loads(list_path().read_text()) == {str(work / "lmcot.toml"): here().digest}


def test_a_changed_file_and_the_same_one_elsewhere_are_asked_about(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_trust(here(), REACHED, yes)
    with pytest.raises(UnconfirmedSettingsError):
        check_trust(here(b"b"), REACHED, nobody_confirms)
    (work / "sub").mkdir()
    monkeypatch.chdir(work / "sub")
    with pytest.raises(UnconfirmedSettingsError):
        check_trust(here(), REACHED, nobody_confirms)


def test_a_file_that_would_do_very_much_ends_in_a_line_that_can_be_read() -> None:
    reached = [f"send questions to {number}.example" for number in range(1000)]
    with pytest.raises(UnconfirmedSettingsError, match="do 988 more things") as caught:
        check_trust(here(), reached, nobody_confirms)
    assert caught.value.reached == tuple(reached)
    assert len(str(caught.value)) < 1000


def test_the_list_is_its_owners_alone() -> None:
    check_trust(here(), REACHED, yes)
    assert stat.S_IMODE(list_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(list_path().parent.stat().st_mode) == 0o700
    assert {path.name for path in list_path().parent.iterdir()} <= {"trusted.json", "trusted.json.lock"}


@pytest.mark.parametrize("text", ["{torn", "[]", '{"a": 1}', "", "[" * 100_000])
def test_a_damaged_list_trusts_nothing_and_says_what_to_do(text: str) -> None:
    list_path().parent.mkdir(parents=True)
    list_path().write_text(text)
    with pytest.raises(InputError, match=r"trusted\.json: .*[;:] delete it, and confirm your settings files"):
        check_trust(here(), REACHED, yes)


def test_a_list_that_cannot_be_written_holds_for_once(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    (work / "state").write_text("no folder")
    with caplog.at_level(logging.WARNING, "lmcot_cli"), pytest.raises(InputError, match="cannot be read"):
        check_trust(here(), REACHED, yes)
    (work / "state").unlink()
    (work / "state").mkdir()
    (work / "state" / "lmcot").symlink_to("/proc/1/none")
    with caplog.at_level(logging.WARNING, "lmcot_cli"):
        check_trust(here(), REACHED, yes)
    assert "lmcot.toml will be asked about again" in caplog.text


def test_several_processes_lose_none(work: Path) -> None:
    files = [SettingsFile(work / str(number) / "lmcot.toml", Standing.FOUND, b"a") for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: check_trust(file, REACHED, yes), files))
    assert all(is_trusted(file) for file in files)


def test_a_path_that_is_no_text_is_remembered_too() -> None:
    file = SettingsFile(Path("/tmp/\udcff/lmcot.toml"), Standing.FOUND, b"a")
    check_trust(file, REACHED, yes)
    check_trust(file, REACHED, nobody_confirms)
