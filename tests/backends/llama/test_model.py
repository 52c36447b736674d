from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lmcot_cli.backends.llama.header_checks import check_shape
from lmcot_cli.backends.llama.memory_shape import MemoryShape
from lmcot_cli.backends.llama.model import LlamaModel
from lmcot_cli.errors import ModelError
from lmcot_cli.model_files.gguf_header import GgufHeader

TinyGguf = Callable[..., Path]


def refusal(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Return the message a file is refused with: one line that names it, and nothing else on the terminal."""
    with pytest.raises(ModelError) as caught:
        LlamaModel(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    return message


def test_metadata(tiny_gguf: TinyGguf) -> None:
    model = LlamaModel(tiny_gguf(context=256, chat=True))
    assert model.trained_context == 256
    assert model.header.architecture == "llama"
    assert model.header.setting("no.such.key") is None
    assert model.header.chat_template is not None
    # 3 layers x 2 KV heads x (32 key + 32 value)
    assert model.memory_shape == MemoryShape(token_values=384)
    model.close()


def test_missing_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no such model file" in refusal(tmp_path / "nope.gguf", capfd)


def test_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "is a folder" in refusal(tmp_path, capfd)


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip file", b"\x00" * 1000])
def test_not_a_gguf(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    assert "is not a GGUF file" in refusal(path, capfd)


@pytest.mark.parametrize("share", [0.00001, 0.0001, 0.001, 0.0015, 0.002, 0.5, 0.999999])
def test_truncated(
    tiny_gguf: TinyGguf, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tiny_gguf().read_bytes()
    path = tmp_path / "half.gguf"
    path.write_bytes(data[: max(5, int(len(data) * share))])
    assert "truncated GGUF file" in refusal(path, capfd)


def test_architecture_that_llama_cpp_does_not_know(
    tiny_gguf: TinyGguf, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "future.gguf"
    path.write_bytes(tiny_gguf().read_bytes().replace(b"llama", b"lhama"))
    assert "unknown model architecture" in refusal(path, capfd)


def test_embedding_model(tiny_gguf: TinyGguf, capfd: pytest.CaptureFixture[str]) -> None:
    assert "is an embedding model" in refusal(tiny_gguf(causal=False), capfd)


def test_unreadable_file(tiny_gguf: TinyGguf, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "link.gguf"
    path.symlink_to(path)  # a loop, so that the test also holds for root
    assert refusal(path, capfd)


def test_loading_writes_nothing_to_the_terminal(
    tiny_gguf: TinyGguf, capfd: pytest.CaptureFixture[str]
) -> None:
    model = LlamaModel(tiny_gguf())
    model.close()
    model.close()
    assert capfd.readouterr() == ("", "")


def rewritten(source: Path, target: Path, key: str, value: int) -> Path:
    """Copy a model with one number of its header changed."""
    data = bytearray(source.read_bytes())
    place = data.index(key.encode()) + len(key) + 4  # behind the key comes its type
    data[place : place + 4] = value.to_bytes(4, "little")
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 100_000),
        ("llama.block_count", 4),
        ("llama.block_count", 0),
        ("llama.context_length", 0),
        ("llama.context_length", 2**31),
        ("llama.embedding_length", 64),
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count_kv", 2**32 - 1),
    ],
)
def test_a_header_that_describes_no_model_is_refused(
    tiny_gguf: TinyGguf, tmp_path: Path, key: str, value: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(tiny_gguf(), tmp_path / "absurd.gguf", key, value)
    assert "damaged GGUF header" in refusal(path, capfd)


def header_of(*tokens: str) -> GgufHeader:
    return GgufHeader(3, {"general.architecture": "llama", "tokenizer.ggml.tokens": list(tokens)}, ())


@pytest.mark.parametrize(
    "tokens", [("a", "b", "b"), ("a", "b", "b\0c"), ("a", "", "[EMPTY_1]"), ("\udcff", "\udcff")]
)
def test_a_token_that_stands_twice_is_refused_before_llama_cpp_ends_the_process(
    tokens: tuple[str, ...],
) -> None:
    with pytest.raises(ModelError, match=f"token {len(tokens) - 1} occurs twice"):
        check_shape(Path("m.gguf"), header_of(*tokens))


def test_empty_tokens_and_halves_of_characters_are_not_alike() -> None:
    check_shape(Path("m.gguf"), header_of("a", "", "", "\udcfe", "\udcff"))


@pytest.mark.parametrize(
    "family", ["mamba", "mamba2", "jamba", "lfm2", "granite-h", "falcon-h1", "qwen3next"]
)
def test_what_a_recurrent_model_has_not_is_no_damage(tiny_family: Callable[..., Path], family: str) -> None:
    # Converters write Mamba's missing heads and feed-forward part as 0, and 2^20 tokens of context.
    model = LlamaModel(tiny_family(family, 1 << 20))
    assert model.trained_context == 1 << 20
    model.close()


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("mamba", "mamba.embedding_length", 0),
        ("mamba", "mamba.ssm.inner_size", 2**31),
        ("mamba", "mamba.ssm.state_size", 2**31),
        ("mamba", "mamba.context_length", 0),
        ("granite-h", "granitehybrid.attention.head_count", 0),
        ("lfm2", "lfm2.shortconv.l_cache", 2**31),
    ],
)
def test_a_recurrent_header_that_describes_no_model_is_refused(
    tiny_family: Callable[..., Path],
    tmp_path: Path,
    family: str,
    key: str,
    value: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = rewritten(tiny_family(family), tmp_path / "absurd.gguf", key, value)
    assert "damaged GGUF header" in refusal(path, capfd)
