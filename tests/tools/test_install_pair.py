"""A pair is installed with its checksums and its figures, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmcot_cli.errors import InputError, LmcotError, ModelError
from lmcot_cli.models import embedded
from lmcot_cli.models.embedded import Integrity
from tools.install_pair import figures, install

SMALL, LARGE = (embedded.FOLDER / f"{name}.gguf" for name in embedded.NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the card and files of another pair."""
    shutil.copy(embedded.FOLDER / "CARD.md", tmp_path)
    for name in embedded.NAMES:
        (tmp_path / f"{name}.gguf").write_bytes(b"the pair before")
    (tmp_path / "checksums.txt").write_text("of the pair before")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_files_checksums_and_card_are_written_together(folder: Path) -> None:
    install(LARGE, SMALL, folder)  # in each other's place, so that every figure is another
    assert [embedded.integrity(name, folder) for name in embedded.NAMES] == [Integrity.OK] * 2
    before, after = (embedded.FOLDER / "CARD.md").read_text(), (folder / "CARD.md").read_text()
    swapped = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(swapped) == 3
    for name, figure in figures(LARGE).items():
        assert f"| {name} | {figure} | {figures(SMALL)[name]} |" in swapped
    assert sorted(content(folder)) == ["CARD.md", "checksums.txt", "large.gguf", "small.gguf"]


def test_the_shipped_pair_is_as_this_command_leaves_it(folder: Path) -> None:
    install(SMALL, LARGE, folder)
    shipped = {name: data for name, data in content(embedded.FOLDER).items() if name in content(folder)}
    assert content(folder) == shipped


@pytest.mark.parametrize(("damage", "error"), [("card", InputError), ("model", ModelError)])
def test_what_cannot_be_installed_whole_changes_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, damage: str, error: type[LmcotError]
) -> None:
    large = LARGE
    if damage == "card":
        (folder / "CARD.md").write_text("no table")
    else:
        large = tmp_path_factory.mktemp("damaged") / "large.gguf"
        large.write_bytes(LARGE.read_bytes()[:-1000])
    before = content(folder)
    with pytest.raises(error):
        install(SMALL, large, folder)
    assert content(folder) == before
