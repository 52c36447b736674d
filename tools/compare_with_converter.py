"""Compare what we write with what llama.cpp's own converter writes of the same models; run by hand.

    python -m tools.compare_with_converter LLAMA_CPP_CHECKOUT MODEL...

The checkout (the source distribution of llama-cpp-python has one in vendor/llama.cpp) is used for comparison only.
`python -m tests.tiny_models FOLDER` makes models of every family and tokenizer. Every tensor must have the same name,
shape, type and bytes, at f32 and at f16; each key of the metadata that differs, or that one side alone has, is printed.
Exits with 1 where a tensor, or a key that changes what the model computes or how it tokenizes, differs. A key that one
side alone states is a note where it makes no difference to llama.cpp, or ours does what transformers does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
from llama_cpp import Llama
from transformers import AutoTokenizer

from lmcot_export.gguf.write import write_gguf

ADDS = "tokenizer.ggml.add_"  # begin- and end-of-text tokens, a space: without the key llama.cpp has defaults
HEAD_WIDTHS = (".attention.key_length", ".attention.value_length")


def main(checkout: Path, models: list[Path]) -> int:
    """Compare every model at both types; return the exit code."""
    wrong = 0
    for model in models:
        for type in ("f32", "f16"):
            with tempfile.TemporaryDirectory() as folder:
                theirs, ours = Path(folder) / "theirs.gguf", Path(folder) / "ours.gguf"
                failure = convert(checkout, model, theirs, type)
                write_gguf(model, ours, type)
                found = [failure] if failure else list(differences(theirs, ours, model))
            differs = any(not line.startswith(("general", "note")) for line in found)
            print(
                f"{model.name} {type}: {'differs' if differs else 'equal'}", *found, sep="\n    ", flush=True
            )
            wrong += differs
    return int(wrong > 0)


def convert(checkout: Path, model: Path, target: Path, type: str) -> str | None:
    """Run the converter; return why it failed, if it did.

    It knows pre-tokenizers by a hash of what a published tokenizer does, so that one trained here is unknown to it:
    such a tokenizer is given the name we found, by a wrapper around the one function that looks names up.
    """
    script = (
        "import sys, runpy; sys.path.insert(1, sys.argv[1]); sys.path.insert(1, sys.argv[1] + '/gguf-py');"
        "import os; from conversion.base import TextModel;"
        "from lmcot_export.gguf.write import prepare; from pathlib import Path;"
        "name = prepare(Path(sys.argv[2])).candidate.pre;"
        "TextModel.get_vocab_base_pre = lambda self, tokenizer: name;"
        "root = sys.argv[1]; sys.argv = ['convert', sys.argv[2], '--outfile', sys.argv[3], '--outtype', sys.argv[4]];"
        "runpy.run_path(root + '/convert_hf_to_gguf.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", script, str(checkout), str(model), str(target), type]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
    return None if done.returncode == 0 else f"the converter failed: {done.stderr.strip().splitlines()[-1]}"


def differences(theirs: Path, ours: Path, model: Path) -> Iterator[str]:
    """Yield a line for each tensor and key that differs."""
    left, right = gguf.GGUFReader(theirs), gguf.GGUFReader(ours)
    yield from tensor_differences(left, right)
    for key in {**left.fields, **right.fields}:
        a, b = value(left, key), value(right, key)
        if key.startswith("GGUF.") or a == b:
            continue
        reason = None
        if a is None and key.endswith(HEAD_WIDTHS):
            reason = default_head_width(left, b)
        elif None in (a, b) and key.startswith(ADDS):
            reason = as_transformers(theirs, ours, model)
        line = f"{key}: theirs {shown(a)}, ours {shown(b)}"
        yield f"note: {line} ({reason})" if reason else line


def default_head_width(reader: gguf.GGUFReader, stated: int) -> str | None:
    """Return why a head width need not be stated, if so."""
    architecture = value(reader, "general.architecture")
    width = value(reader, f"{architecture}.embedding_length")
    heads = value(reader, f"{architecture}.attention.head_count")
    return "llama.cpp's default" if width // heads == stated else None


def as_transformers(theirs: Path, ours: Path, model: Path) -> str | None:
    """Return what each makes of a letter, special tokens added, if ours gives what transformers gives."""
    wanted = list(AutoTokenizer.from_pretrained(model)("a").input_ids)
    found = [
        Llama(str(path), vocab_only=True, verbose=False).tokenize(b"a", add_bos=True)
        for path in (theirs, ours)
    ]
    if found[1] != wanted:
        return None
    return (
        "no difference" if found[0] == wanted else f"theirs gives {found[0]}, ours and transformers {wanted}"
    )


def tensor_differences(left: gguf.GGUFReader, right: gguf.GGUFReader) -> Iterator[str]:
    """Yield a line for each tensor that differs."""
    theirs, ours = ({tensor.name: tensor for tensor in reader.tensors} for reader in (left, right))
    for name in sorted(theirs.keys() ^ ours.keys()):
        yield f"tensor {name}: only {'theirs' if name in theirs else 'ours'}"
    for name in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[name], ours[name]
        if (a.tensor_type, list(a.shape)) != (b.tensor_type, list(b.shape)):
            yield f"tensor {name}: theirs {a.tensor_type.name} {a.shape}, ours {b.tensor_type.name} {b.shape}"
        elif a.data.tobytes() != b.data.tobytes():
            worst = abs(a.data.astype("f8") - b.data.astype("f8")).max()
            yield f"tensor {name}: the bytes differ, by {worst:g} at most"


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """Return a key's value, None where the file has no such key."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def shown(value: Any) -> str:
    """Shorten a value for a line."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]]))
