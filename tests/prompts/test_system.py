from pathlib import Path

import pytest

from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.prompts.system import MAX_BYTES, read_system


@pytest.mark.parametrize(
    "text", ["Be brief.", "/no_think", "Antworte kurz: ja/nein.", "x" * 5000, "nul\0byte"]
)
def test_what_names_no_file_is_the_message(text: str):
    assert read_system(text, "--small-system") == text


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_blank_message_is_none(text: str | None):
    assert read_system(text, "--small-system") is None


def test_a_file_that_is_there_is_read(tmp_path: Path):
    path = tmp_path / "be brief"
    path.write_bytes("\ufeffSei kurz: \u00e4\u00f6\u00fc.\n".encode())
    assert read_system(str(path), "--small-system") == "Sei kurz: \u00e4\u00f6\u00fc."


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfeB\0", r"^--large-system .*system\.txt: is not UTF-8 text; save it as UTF-8$"),
        (b"x" * (MAX_BYTES + 1), r"^--large-system .*system\.txt: is longer than 65,536 bytes"),
    ],
)
def test_a_file_that_is_no_message_is_refused(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "system.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_system(str(path), "--large-system")


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"^--large-system .*: cannot be read: Is a directory$"):
        read_system(str(tmp_path), "--large-system")


@pytest.mark.parametrize("name", ["system.txt", "prompts/system.md", "SYSTEM.TXT"])
def test_the_name_of_a_file_that_is_not_there_is_no_message(name: str):
    with pytest.raises(UsageError, match=r"^--small-system .*: there is no such file"):
        read_system(name, "--small-system")


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(UsageError, match=r"^--small-system: the text is not UTF-8$"):
        read_system("half \udcff", "--small-system")
