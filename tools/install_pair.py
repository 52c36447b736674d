"""Install a pair of GGUF files as the embedded one: python tools/install_pair.py SMALL.gguf LARGE.gguf.

Files, checksums and the figures of the files in the card are written together, so that none is forgotten.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from lmcot_cli.errors import InputError, LmcotError
from lmcot_cli.files import hex_digest, replacing
from lmcot_cli.model_files.gguf_header import read_header
from lmcot_cli.models import embedded


def install(small: Path, large: Path, folder: Path = embedded.FOLDER) -> None:
    """Copy both files, and update the checksums and the card.

    Raises:
        ModelError: One is no GGUF file; nothing is changed then.
        InputError: The card has no line for a figure; nothing is changed either.
    """
    pair = dict(zip(embedded.NAMES, (small, large), strict=True))
    card = folder / "CARD.md"
    text = updated(card.read_text(encoding="utf-8"), [figures(path) for path in pair.values()])
    for name, path in pair.items():
        with replacing(folder / f"{name}.gguf") as copy:
            shutil.copyfile(path, copy)
    lines = [f"{hex_digest(folder / f'{name}.gguf')}  {name}.gguf\n" for name in pair]
    (folder / "checksums.txt").write_text("".join(lines), encoding="utf-8")
    card.write_text(text, encoding="utf-8")


def figures(path: Path) -> dict[str, str]:
    """Return what the card says of a file, by the name of the line."""
    header = read_header(path)
    return {
        "parameters": f"{header.parameters:,}",
        "file": f"{path.stat().st_size:,} bytes, {header.quantization}",
        "SHA-256": f"`{hex_digest(path)}`",
    }


def updated(card: str, of_files: list[dict[str, str]]) -> str:
    """Return the card with the figures of these files, small before large.

    Raises:
        InputError: It has no line for one of them, or more than one.
    """
    for name in of_files[0]:
        line = f"| {name} | {' | '.join(one[name] for one in of_files)} |"
        escaped = line.replace("\\", r"\\")
        card, count = re.subn(rf"^\| {name} \|.*$", escaped, card, flags=re.MULTILINE)
        if count != 1:
            raise InputError(f"CARD.md: has {count} lines that begin with `| {name} |`, not one")
    return card


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        install(Path(sys.argv[1]), Path(sys.argv[2]))
    except LmcotError as error:
        sys.exit(f"error: {error}")
