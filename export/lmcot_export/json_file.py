"""Read the JSON files of models and runs, which anyone may have damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lmcot_cli.errors import LmcotError, ModelError


def read_object(path: Path, fault: type[LmcotError] = ModelError) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        fault: What is raised where it holds none.

    Raises:
        LmcotError: Of the class `fault`: the file is missing, is no JSON or nested too deeply, or is no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise fault(f"{path}: is missing; copy or download it again") from error
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise fault(f"{path}: is not valid JSON; copy or download it again") from error
    if not isinstance(value, dict):
        raise fault(f"{path}: is not a JSON object; copy or download it again")
    return value
