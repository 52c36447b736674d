from __future__ import annotations

from pathlib import Path

import pytest

from lmcot_cli.errors import ModelError
from lmcot_export.quantize import quantize


def test_what_is_not_a_model_cannot_be_quantized(tmp_path: Path) -> None:
    source = tmp_path / "text.gguf"
    source.write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.gguf"):
        quantize(source, tmp_path / "out.gguf", "q8_0")
