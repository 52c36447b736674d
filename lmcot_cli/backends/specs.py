"""Model specs: the string that names a model, and the backend that runs it.

A kind of spec is a row of `_FORMS`; its backend is imported when a spec needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lmcot_cli.backends.base import Backend, Role
from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.naming import ModelName, Resolved, resolve_name
from lmcot_cli.backends.torch import checkpoint
from lmcot_cli.errors import ModelSpecError, UsageError, did_you_mean
from lmcot_cli.model_files.gguf_header import check_gguf
from lmcot_cli.model_files.settings import ADAPTER_CONFIG, CONFIG
from lmcot_cli.models import embedded, hub
from lmcot_cli.models.completion import model_names

_ENDPOINT = "lmcot_cli.backends.endpoint.backend:EndpointBackend"
_LLAMA = "lmcot_cli.backends.llama.backend:LlamaBackend"
_ONNX = "lmcot_cli.backends.torch.onnx_backend:OnnxBackend"
_SCRIPTED = "lmcot_cli.backends.scripted:ScriptedBackend"
_TRANSFORMERS = "lmcot_cli.backends.torch.backend:TransformersBackend"


class _Form(NamedTuple):
    """A kind of spec.

    Attributes:
        written: How it is written, for messages.
        backend: Module and class of its backend.
        locate: Returns the model's file or folder; None for an endpoint, which has none.
        check: Refuses a file that is not there; None where the model may have to be downloaded first.
    """

    written: str
    backend: str
    locate: Callable[[str], Path] | None = None
    check: Callable[[Path], None] | None = None


def _after(scheme: str) -> Callable[[str], Path]:
    return lambda spec: Path(spec.removeprefix(scheme))


def _check_script(path: Path) -> None:
    _class_of(_SCRIPTED)(path).close()


_FORMS = {
    embedded.SCHEME: _Form("builtin:small, builtin:large", _LLAMA, embedded.path_of, check_gguf),
    "gguf:": _Form("PATH.gguf or gguf:PATH", _LLAMA, _after("gguf:"), check_gguf),
    hub.SCHEME: _Form("hf:ORG/REPO:FILE.gguf", _LLAMA, lambda spec: hub.download(hub.parse(spec))),
    checkpoint.SCHEME: _Form(
        "a model folder or transformers:FOLDER_OR_HUB_ID[+ADAPTER]", _TRANSFORMERS, _after(checkpoint.SCHEME)
    ),
    checkpoint.ONNX_SCHEME: _Form(
        "a folder of ONNX graphs or onnx:FOLDER",
        _ONNX,
        _after(checkpoint.ONNX_SCHEME),
        checkpoint.check_onnx_folder,
    ),
    address.SCHEME: _Form("openai:MODEL", _ENDPOINT),
    "http://": _Form("http://HOST:PORT/v1#MODEL", _ENDPOINT),
    "https://": _Form("https://HOST/v1#MODEL", _ENDPOINT),
    "scripted:": _Form("scripted:FILE", _SCRIPTED, _after("scripted:"), _check_script),
}


def open_model(
    name: ModelName,
    *,
    role: Role,
    aliases: Mapping[str, str],
    options: EngineOptions,
    adapters: Sequence[str] = (),
    endpoint: EndpointOptions | None = None,
) -> Backend:
    """Load the model of a spec, or connect to it.

    Args:
        name: A model spec, or a name from `aliases` or the catalogue, and who named it.
        role: The option that it was given for, for messages.
        aliases: Names that stand for specs.
        options: Settings of the engines that run models here.
        adapters: GGUF adapters to add, as `FILE`, `NAME=FILE` or `NAME=FILE:SCALE`.
        endpoint: Settings of an endpoint.

    Raises:
        ModelSpecError: The spec names no model.
        UsageError: There are adapters, and the model is no GGUF file.
        ModelError: The model cannot be found, loaded or reached.
    """
    resolved, form = _understood(name, role, aliases)
    if adapters and form.backend != _LLAMA:
        raise UsageError(
            f"--small-adapter is for GGUF models, and --small {name} is none; for a folder, write its adapter in the"
            " spec: FOLDER+ADAPTER"
        )
    open_backend = _class_of(form.backend)
    backend: Backend
    if form.locate is None:
        backend = open_backend(address.parse(resolved.spec, resolved.by), endpoint or EndpointOptions())
    elif adapters:
        from lmcot_cli.backends.llama.adapters import parse_adapters

        backend = open_backend(form.locate(resolved.spec), options, resolved.spec, parse_adapters(adapters))
    else:
        backend = open_backend(form.locate(resolved.spec), options, resolved.spec)
    return backend


def check_model(name: ModelName, *, role: Role, aliases: Mapping[str, str]) -> None:
    """Refuse what `open_model` would refuse, as far as possible without loading or downloading anything.

    Raises:
        ModelSpecError: The spec names no model.
        ModelError: Its file does not exist.
    """
    resolved, form = _understood(name, role, aliases)
    if form.locate is None:
        address.parse(resolved.spec)
    elif resolved.spec.startswith(hub.SCHEME):
        hub.parse(resolved.spec)
    elif form.check:
        form.check(form.locate(resolved.spec))


def names_endpoint(spec: str) -> bool:
    """Return whether a spec (with aliases resolved) names a model behind an endpoint."""
    form = _form_of(spec)
    return form is not None and form.locate is None


def downloads(spec: str) -> tuple[hub.HubFile, ...]:
    """Return the files of the hub that a spec (with aliases resolved) names; for a whole model, its settings.

    Raises:
        ModelSpecError: It begins like a file of the hub, but names none.
    """
    if spec.startswith(hub.SCHEME):
        return (hub.parse(spec),)
    if _form_of(spec) is not _FORMS[checkpoint.SCHEME]:
        return ()
    name = spec.removeprefix(checkpoint.SCHEME)
    base, plus, adapter = name.rpartition("+")
    wanted = {base: CONFIG, adapter: ADAPTER_CONFIG} if plus and not _is_there(name) else {name: CONFIG}
    return tuple(
        hub.HubFile(one, file)
        for one, file in wanted.items()
        if not _is_there(one) and hub.is_repository(one)
    )


def _is_there(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110  (Path's own raises where a name is too long for a file)


def gguf_file(name: ModelName, aliases: Mapping[str, str]) -> Path | None:
    """Return the GGUF file of a spec if it is on this machine, else None; nothing is downloaded."""
    resolved = resolve_name(name, aliases).spec
    form = _form_of(resolved)
    if form is None or form.backend != _LLAMA or form.locate is None or resolved.startswith(hub.SCHEME):
        return None
    path = form.locate(resolved)
    return path if path.is_file() else None


def _understood(name: ModelName, role: Role, aliases: Mapping[str, str]) -> tuple[Resolved, _Form]:
    """Return the spec without aliases, and its kind.

    Raises:
        ModelSpecError: It is of no kind, or an alias has the name of a model folder.
    """
    resolved = resolve_name(name, aliases)
    if str(name) in aliases and _form_of(str(name)):
        raise ModelSpecError(
            f"--{role} {str(name)!r} is an alias of the settings file and a folder here: write ./{name} for the folder"
        )
    form = _form_of(resolved.spec)
    if form is None:
        raise ModelSpecError(_explain(str(name), resolved.spec, role, aliases))
    return resolved, form


def _form_of(spec: str) -> _Form | None:
    for scheme, form in _FORMS.items():
        if spec.startswith(scheme):
            return form
    if spec.endswith(".gguf"):
        return _FORMS["gguf:"]
    if not _is_there(spec):
        return None
    if checkpoint.holds_onnx_model(Path(spec)):
        return _FORMS[checkpoint.ONNX_SCHEME]
    return _FORMS[checkpoint.SCHEME] if checkpoint.holds_transformers_model(Path(spec)) else None


def _class_of(backend: str) -> Any:
    module, _, name = backend.partition(":")
    return getattr(import_module(module), name)


def _explain(spec: str, resolved: str, role: Role, aliases: Mapping[str, str]) -> str:
    named = f"{spec!r}" if spec == resolved else f"{spec!r} (an alias of {resolved!r})"
    forms = [*(form.written for form in _FORMS.values()), "a name from lmcot models list"]
    if aliases:
        forms.append(f"an alias ({', '.join(sorted(aliases))})")
    near = did_you_mean(spec, [*aliases, *model_names()])
    return f"--{role} {named} names no model{near or '; write one of: ' + ', '.join(forms)}"
