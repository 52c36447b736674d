"""Which key a host gets: the section `[keys]` of the user's own settings file, even if another file is in use.

    [keys]
    "api.example.com" = { env = "EXAMPLE_API_KEY" }
    "localhost:8000" = { env = "LOCAL_API_KEY" }

A host with a port is matched at that port only. No other file may have this section: it would name variables of the
environment and the hosts to send them to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lmcot_cli.errors import InputError
from lmcot_cli.settings.file import own_file, own_path, parse_toml

_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)


class HostKey(BaseModel):
    """A line of the section: the variable that holds the key of a host."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Variables of the environment by host and port; the port is None if the line has none."""

    variables: Mapping[tuple[str, int | None], str] = field(default_factory=dict)

    def variable_of(self, host: str, port: int) -> str | None:
        """Return the variable that holds the key of a host, None if the section does not name the host."""
        name = plain_host(host)
        return self.variables.get((name, port)) or self.variables.get((name, None))


def own_keys() -> HostKeys:
    """Read the section of the user's own settings file.

    Raises:
        InputError: The file cannot be read, or the section is not valid.
    """
    file = own_file()
    section = parse_toml(file).get("keys", {}) if file else {}
    try:
        return parse_keys(section)
    except ValueError as error:
        raise InputError(f"{own_path()}: [keys] {error}") from error


def parse_keys(section: Any) -> HostKeys:
    """Read the section.

    Raises:
        ValueError: It is not valid; the message says where.
    """
    try:
        lines = TypeAdapter(dict[str, HostKey]).validate_python(section)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
        raise ValueError(f'{place}: name the variable that holds the key: {{ env = "NAME" }}') from error
    variables: dict[tuple[str, int | None], str] = {}
    for name, line in lines.items():
        place_of_key = _parse_host(name)
        if place_of_key in variables:
            raise ValueError(f"{name}: appears twice")
        variables[place_of_key] = line.env
    return HostKeys(variables)


def plain_host(host: str) -> str:
    """Return the canonical form of a host's name or address."""
    bare = host.strip("[]").rstrip(".").lower()
    return str(IPv6Address(bare)) if ":" in bare else bare


def _parse_host(name: str) -> tuple[str, int | None]:
    match = _HOST.fullmatch(name)
    if match is None:
        raise ValueError(f"{name}: write only the host, or the host and its port: api.example.com:8443")
    port = match["port"]
    return plain_host(match["host"]), int(port) if port else None
