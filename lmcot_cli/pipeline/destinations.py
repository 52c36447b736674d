"""Where a run sends requests: which hosts it asks, with whose key, and which settings file says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from lmcot_cli.backends.base import Role
from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.naming import FromSettings, ModelName, NamedBy, resolve_name
from lmcot_cli.backends.specs import downloads, names_endpoint
from lmcot_cli.models import hub


class AsksModels(Protocol):
    """The settings of a command that asks models."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names that stand for model specs."""

    @property
    def endpoint(self) -> EndpointOptions:
        """Settings of endpoints."""

    @property
    def settings_file(self) -> Path | None:
        """The settings file in use."""


def destinations(models: Mapping[Role, ModelName], options: AsksModels) -> tuple[str, ...]:
    """Return what the user should know before anything is sent, one line for each host.

    Models on this machine are not mentioned, nor are its own servers, unless a key is sent to them.

    Raises:
        LmcotError: A spec cannot be understood, or the user's settings file cannot be read.
    """
    lines = [line for name in models.values() for line in _asked(name, options)]
    if options.settings_file:
        lines.insert(0, f"uses the settings of {options.settings_file}{_chosen(models, options.aliases)}")
    return tuple(dict.fromkeys(lines))


def _asked(name: ModelName, options: AsksModels) -> Iterator[str]:
    resolved = resolve_name(name, options.aliases)
    if names_endpoint(resolved.spec):
        place = address.parse(resolved.spec, resolved.by)
        key = key_source(place, options.endpoint)
        if key.there:
            yield f"asks {place.place} with the key of {key.name}"
        elif not place.loopback:
            yield f"asks {place.place} without a key"
        return
    for file in downloads(resolved.spec):
        if hub.find(file) is None:
            yield f"downloads {file.repository} from {hub.host()} {hub.token_name()}"


def _chosen(models: Mapping[Role, ModelName], aliases: Mapping[str, str]) -> str:
    """Return the models that the settings file chose, and what its names stand for."""
    named = {role: (name, resolve_name(name, aliases)) for role, name in models.items()}
    chosen = [
        f"{role} is {resolved.spec}"
        for role, (name, resolved) in named.items()
        if resolved.by is NamedBy.SETTINGS or isinstance(name, FromSettings)
    ]
    return f": {', '.join(chosen)}" if chosen else ""
