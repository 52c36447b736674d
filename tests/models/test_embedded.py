"""The embedded pair: found by name, compared with its checksums."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.errors import ModelError, ModelSpecError
from lmcot_cli.files import hex_digest
from lmcot_cli.model_files.gguf_header import read_header
from lmcot_cli.models import embedded
from lmcot_cli.models.embedded import Integrity

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_integrity_is_that_of_sha256sum_lines(tmp_path: Path) -> None:
    assert embedded.integrity("small", tmp_path) is Integrity.MISSING
    (tmp_path / "small.gguf").write_bytes(b"abc")
    (tmp_path / "checksums.txt").write_text(f"{'0' * 64}  large.gguf\n{SHA256_OF_ABC}  small.gguf\n")
    assert embedded.integrity("small", tmp_path) is Integrity.OK
    (tmp_path / "small.gguf").write_bytes(b"abd")
    assert embedded.integrity("small", tmp_path) is Integrity.CHANGED


def test_a_file_without_a_checksum_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"abc")
    with pytest.raises(ModelError, match=r"no checksum of small\.gguf"):
        embedded.integrity("small", tmp_path)


@pytest.mark.parametrize("name", embedded.NAMES)
def test_the_shipped_files_are_those_of_checksums_and_card(name: str) -> None:
    """A pair was once installed without its checksums, and `lmcot doctor` called every installation broken."""
    assert embedded.integrity(name) is Integrity.OK
    path = embedded.FOLDER / f"{name}.gguf"
    header = read_header(path)
    column = 1 + embedded.NAMES.index(name)
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in embedded.card().splitlines()]
    said = {row[0]: row[column] for row in rows if len(row) == 3}
    assert said["SHA-256"] == f"`{hex_digest(path)}`"
    assert said["file"] == f"{path.stat().st_size:,} bytes, {header.quantization}"
    assert said["parameters"] == f"{header.parameters:,}"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelSpecError, match="builtin:small, builtin:large"):
        embedded.path_of("builtin:medium")


def test_a_missing_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(ModelError, match="reinstall lmcot"):
        embedded.path_of("builtin:small")
    (tmp_path / "small.gguf").touch()
    assert embedded.path_of("builtin:small") == tmp_path / "small.gguf"
