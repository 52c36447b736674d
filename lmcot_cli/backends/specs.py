"""Model specs: the string that names a model, and the backend that runs it.

A backend is a row of `_BACKENDS`, loaded when a spec asks for it; a kind of spec is a row of `_FORMS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from lmcot_cli.backends.base import Backend, Role
from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.backends.naming import ModelName, Resolved, resolve_name
from lmcot_cli.backends.torch import checkpoint
from lmcot_cli.errors import ModelSpecError, UsageError, did_you_mean
from lmcot_cli.model_files.settings import ADAPTER_CONFIG, CONFIG
from lmcot_cli.models import embedded, hub
from lmcot_cli.models.completion import model_names

_BACKENDS = {
    "endpoint": "lmcot_cli.backends.endpoint.backend:EndpointBackend",
    "llama": "lmcot_cli.backends.llama.backend:LlamaBackend",
    "scripted": "lmcot_cli.backends.scripted:ScriptedBackend",
    "onnx": "lmcot_cli.backends.torch.onnx_backend:OnnxBackend",
    "transformers": "lmcot_cli.backends.torch.backend:TransformersBackend",
}


class _OpenFile(Protocol):
    """How every backend that runs a file is opened."""

    def __call__(self, path: Path, options: EngineOptions, spec: str) -> Backend: ...


class _OpenEndpoint(Protocol):
    """How the backend of endpoints is opened."""

    def __call__(self, address: address.Address, options: EndpointOptions) -> Backend: ...


class _Form(NamedTuple):
    """A kind of spec: how it is written, the backend it names, and how it becomes that backend's file.

    Where `locate` is None the spec names an endpoint, not a file.
    """

    written: str
    backend: str
    locate: Callable[[str], Path] | None


_FORMS = {
    embedded.SCHEME: _Form("builtin:small, builtin:large", "llama", embedded.path_of),
    "gguf:": _Form("PATH.gguf or gguf:PATH", "llama", lambda spec: Path(spec.removeprefix("gguf:"))),
    hub.SCHEME: _Form("hf:ORG/REPO:FILE.gguf", "llama", lambda spec: hub.download(hub.parse(spec))),
    checkpoint.SCHEME: _Form(
        "a model folder or transformers:FOLDER_OR_HUB_ID[+ADAPTER]",
        "transformers",
        lambda spec: Path(spec.removeprefix(checkpoint.SCHEME)),
    ),
    checkpoint.ONNX_SCHEME: _Form(
        "a folder of ONNX graphs or onnx:FOLDER",
        "onnx",
        lambda spec: Path(spec.removeprefix(checkpoint.ONNX_SCHEME)),
    ),
    address.SCHEME: _Form("openai:MODEL", "endpoint", None),
    "http://": _Form("http://HOST:PORT/v1#MODEL", "endpoint", None),
    "https://": _Form("https://HOST/v1#MODEL", "endpoint", None),
    "scripted:": _Form("scripted:FILE", "scripted", lambda spec: Path(spec.removeprefix("scripted:"))),
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
    """Load the model that `name` names, or open the way to it.

    Args:
        name: A model spec, or a name from `aliases` or the catalogue, with who gave it.
        role: The option it was given for, for messages.
        aliases: Names that stand for specs.
        options: Settings of the engines that run models here; other backends have no use for them.
        adapters: GGUF adapters to add, as `FILE`, `NAME=FILE` or `NAME=FILE:SCALE`.
        endpoint: Settings of an endpoint; only a spec that names one has a use for them.

    Raises:
        ModelSpecError: The spec names no model.
        UsageError: Adapters for a model that is no GGUF file.
        ModelError: The model cannot be found, loaded or reached.
    """
    resolved, form = _understood(name, role, aliases)
    spec = resolved.spec
    if adapters:
        return _open_adapted(str(name), spec, form, options, adapters)
    if form.locate is None:
        opener = cast("_OpenEndpoint", _opener(form.backend))
        return opener(address.parse(spec, resolved.by), endpoint or EndpointOptions())
    return cast("_OpenFile", _opener(form.backend))(form.locate(spec), options, spec)


def check_model(name: ModelName, *, role: Role, aliases: Mapping[str, str]) -> None:
    """Refuse what `open_model` would refuse, as far as that shows without loading or downloading anything.

    Raises:
        ModelSpecError: The spec names no model.
        ModelError: Its file is not there.
    """
    resolved, form = _understood(name, role, aliases)
    if form.locate is None:
        address.parse(resolved.spec)
    elif resolved.spec.startswith(hub.SCHEME):
        hub.parse(resolved.spec)
    elif check := _CHECKS.get(form.backend):
        check(form.locate(resolved.spec))


def names_endpoint(spec: str) -> bool:
    """Whether a spec, aliases resolved, names a model behind an endpoint."""
    form = _form_of(spec)
    return form is not None and form.locate is None


def downloads(spec: str) -> tuple[hub.HubFile, ...]:
    """Return the files of the hub that a spec, aliases resolved, names; of a whole model, the one that it must have.

    Raises:
        ModelSpecError: It names none, though it begins as if it did.
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
    """Return the GGUF file that a spec names, if it is on this machine; nothing is downloaded."""
    resolved = resolve_name(name, aliases).spec
    form = _form_of(resolved)
    if form is None or form.backend != "llama" or form.locate is None or resolved.startswith(hub.SCHEME):
        return None
    path = form.locate(resolved)
    return path if path.is_file() else None


def _open_adapted(
    spec: str, resolved: str, form: _Form, options: EngineOptions, adapters: Sequence[str]
) -> Backend:
    from lmcot_cli.backends.llama.adapters import parse_adapters
    from lmcot_cli.backends.llama.backend import LlamaBackend

    if form.backend != "llama" or form.locate is None:
        raise UsageError(
            f"--small-adapter is for GGUF models, and --small {spec} is none; to a folder its adapter is added in the"
            " spec: FOLDER+ADAPTER"
        )
    return LlamaBackend(form.locate(resolved), options, resolved, parse_adapters(adapters))


def _check_gguf(path: Path) -> None:
    from lmcot_cli.backends.llama.model import check_path

    check_path(path)


def _check_script(path: Path) -> None:
    from lmcot_cli.backends.scripted import ScriptedBackend

    ScriptedBackend(path).close()


_CHECKS: Mapping[str, Callable[[Path], None]] = {
    "llama": _check_gguf,
    "scripted": _check_script,
    "onnx": checkpoint.check_onnx_folder,
}
"""How it shows whether a backend's file is there; a transformers model may have to be downloaded first."""


def _understood(name: ModelName, role: Role, aliases: Mapping[str, str]) -> tuple[Resolved, _Form]:
    """Return the spec with names replaced, and its kind.

    Raises:
        ModelSpecError: It is of none, or an alias is called as a model here is.
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


def _opener(backend: str) -> object:
    module, _, name = _BACKENDS[backend].partition(":")
    return cast("object", getattr(import_module(module), name))


def _explain(spec: str, resolved: str, role: Role, aliases: Mapping[str, str]) -> str:
    named = f"{spec!r}" if spec == resolved else f"{spec!r} (an alias of {resolved!r})"
    forms = [*(form.written for form in _FORMS.values()), "a name from lmcot models list"]
    if aliases:
        forms.append(f"an alias ({', '.join(sorted(aliases))})")
    near = did_you_mean(spec, [*aliases, *model_names()])
    return f"--{role} {named} names no model{near or '; write one of: ' + ', '.join(forms)}"
