"""Print what `lmcot answer` wrote, one question per line: python show_answers.py answers.jsonl

The file is JSONL, so the standard library is enough; `-` or no argument reads standard input.
"""

from __future__ import annotations

import fileinput
import json
import os
import sys
from typing import Any


def printable(text: str) -> str:
    """Drop characters that a terminal would obey instead of showing: a model may write anything."""
    return "".join(character for character in text if character.isprintable())


def line(result: dict[str, Any]) -> str:
    if result["error"]:
        return f"{result['id']}: failed: {result['error']['message']}"
    votes = f" ({result['agreement']:.0%} of the votes)" if len(result["samples"]) > 1 else ""
    gold = f"  [gold: {' | '.join(result['gold'])}]" if result.get("gold") else ""
    return f"{result['question']}  ->  {result['answer']}{votes}{gold}"


def main() -> None:
    with fileinput.input(encoding="utf-8") as results:
        for text in results:
            print(printable(line(json.loads(text))), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # the reader has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
