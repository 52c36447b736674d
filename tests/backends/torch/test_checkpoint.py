"""What a spec stands for: a model, an adapter with its base, a training run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from lmcot_cli.backends.base import Backend, Completion, Request, Sampling
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.reply_text import ReplyText
from lmcot_cli.backends.specs import open_model
from lmcot_cli.backends.torch.backend import TransformersBackend
from lmcot_cli.backends.torch.checkpoint import Checkpoint, find
from lmcot_cli.errors import LmcotError, ModelError

Folder = Callable[..., Path]


def load(spec: str, aliases: dict[str, str] | None = None) -> Backend:
    return open_model(spec, role="small", aliases=aliases or {}, options=EngineOptions(threads=1))


def text_of(backend: Backend, prompt: str = "the cat") -> str:
    (done,) = backend.complete([Request(prompt, 0)], Sampling(max_tokens=12))
    assert isinstance(done, Completion)
    return done.text


def spelled(backend: Backend, tokens: list[int]) -> str:
    assert isinstance(backend, TransformersBackend)
    text = ReplyText()
    for token in tokens:
        text.add(backend.vocabulary.piece(token) or b"")
    return text.text


def write_adapter(base: Path, folder: Path, family: str) -> list[int]:
    """Write a LoRA adapter whose weights are random on both sides; return the tokens the model writes with it."""
    kind = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    targets = ["q", "v"] if family == "t5" else ["q_proj", "v_proj"]
    model = get_peft_model(kind.from_pretrained(base), LoraConfig(r=4, target_modules=targets))
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(base)("the cat", return_tensors="pt").input_ids
    done = model.eval().generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    written: list[int] = done[0][1 if family == "t5" else ids.shape[1] :].tolist()
    return written


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_an_adapter_is_applied_by_each_way_to_name_it(
    tiny_folder: Folder, tmp_path: Path, family: str
) -> None:
    base, run = tiny_folder(family), tmp_path / "run"
    expected = write_adapter(base, run / "adapter", family)
    (run / "run.json").write_text(json.dumps({"base": str(base), "adapter": "adapter"}))
    specs = [
        str(run / "adapter"),
        str(run),
        f"transformers:{base}+{run / 'adapter'}",
        f"transformers:{base}+{run}",
    ]
    digests = set()
    for spec in specs:
        with load(spec) as backend:
            assert text_of(backend) == spelled(backend, expected)
            assert backend.identity.spec == spec
            digests.add(backend.identity.digest)
    with load(str(base)) as plain:
        assert text_of(plain) != spelled(plain, expected)
        assert {plain.identity.digest} != digests
    assert len(digests) == 1


def test_a_run_of_all_weights_is_its_model_folder(tiny_folder: Folder, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder(), tmp_path / "model")
    (tmp_path / "run.json").write_text(json.dumps({"base": "no/longer-needed", "adapter": None}))
    assert find(str(tmp_path)) == Checkpoint(tmp_path / "model")


def test_a_folder_and_an_alias_of_it_open_the_transformers_backend(tiny_folder: Folder) -> None:
    folder = tiny_folder()
    for spec in (str(folder), f"transformers:{folder}", "mine"):
        with load(spec, {"mine": str(folder)}) as backend:
            assert isinstance(backend, TransformersBackend)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"run.json": "{}"}, "model: has no config.json"),
        ({"run.json": '{"adapter": "adapter"}'}, "names no base model; write transformers:BASE[+]"),
        ({"adapter_config.json": "{}"}, "names no base model"),
        ({"run.json": "[]"}, "is not a JSON object"),
        ({"run.json": "{"}, "is not valid JSON"),
        ({"config.json": "{"}, "is not valid JSON"),
    ],
)
def test_an_incomplete_folder_is_named_with_what_is_missing(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=message):
        find(str(tmp_path))


def test_an_adapter_of_pickles_is_not_loaded(tiny_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors, and no pickle is loaded"):
        load(f"transformers:{tiny_folder()}+{tmp_path}")


def test_what_is_no_folder_and_no_name_on_the_hub_is_refused() -> None:
    with pytest.raises(LmcotError, match="no/such/folder: no such folder, and no name on the hub"):
        load("transformers:no/such/folder")


def test_a_model_of_the_hub_that_is_in_the_cache_needs_no_network_and_a_broken_off_one_does(
    tmp_path: Path,
) -> None:
    repository = tmp_path / "hub" / "models--org--model"
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (folder / "config.json").write_text("{}")
    (folder / "a.safetensors").write_bytes(b"")
    # In a process of its own: huggingface_hub reads its environment when it is imported.
    program = (
        "import json, pathlib\n"
        "from lmcot_cli.backends.torch.checkpoint import find\n"
        "from lmcot_cli.errors import ModelError\n"
        "folder = find('org/model').base\n"
        "print(folder.name)\n"
        "index = {'weight_map': {'x': 'a.safetensors', 'y': 'b.safetensors'}}\n"
        "(folder / 'model.safetensors.index.json').write_text(json.dumps(index))\n"
        "try: find('org/model')\n"
        "except ModelError as error: print(error)"
    )
    environment = {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    first, second = done.stdout.splitlines()
    assert first == "0" * 40
    assert second.startswith("org/model: no such folder, and not in the local cache")


def test_a_missing_package_is_named_with_the_line_that_mends_it(tiny_folder: Folder) -> None:
    program = (
        "import sys; sys.modules['transformers'] = None\n"
        "from lmcot_cli.backends.torch.backend import TransformersBackend\n"
        "from lmcot_cli.errors import MissingExtraError\n"
        "from pathlib import Path\n"
        "try: TransformersBackend(Path(sys.argv[1]))\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tiny_folder()], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("pip install 'lmcot[train]'\n")
