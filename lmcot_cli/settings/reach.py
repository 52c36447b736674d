"""What a settings file would do beside setting numbers and switches, in words that a user can decide by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.naming import FromSettings, NamedBy, resolve_name
from lmcot_cli.backends.specs import downloads, names_endpoint
from lmcot_cli.models import catalogue

if TYPE_CHECKING:
    from lmcot_cli.config import AnswerDefaults, Config


def reach_of(config: Config) -> tuple[str, ...]:
    """Return what a file would do that its user is to know of first; nothing for one of numbers and switches.

    Models on this machine, and those of the catalogue, are not among it: they bring text, and no other host is asked
    for more than a known file.

    Raises:
        LmcotError: A spec cannot be understood.
    """
    chosen = (name for name in (config.answer.small, config.answer.large) if name)
    specs = [*config.models.values(), *chosen]
    found = [*_models(specs, config.models), *_files(config.answer)]
    if config.prices:
        found.append("set the prices that --max-cost goes by")
    return tuple(dict.fromkeys(found))


def _models(specs: list[str], aliases: Mapping[str, str]) -> Iterator[str]:
    for spec in specs:
        named = resolve_name(FromSettings(spec), aliases).spec
        if names_endpoint(named):
            place = address.parse(named, NamedBy.SETTINGS)
            key = key_source(place, EndpointOptions())
            with_key = f"with the key of {key.name}" if key.there else "without a key"
            yield f"send questions to {place.place} ({with_key})"
        elif not catalogue.find(spec):
            yield from (f"download {file.repository} from the hub" for file in downloads(named))


def _files(answer: AnswerDefaults) -> Iterator[str]:
    """Say what of the prompts and requests the file decides, and which files it has read."""
    schema = answer.answer_kind if (answer.answer_kind or "").startswith("json:") else None
    texts: Mapping[str, str | Path | None] = {
        "take prompts from": answer.prompts,
        "take examples from": answer.shots_from,
        "tell the small LM what is in or says": answer.small_system,
        "tell the large LM what is in or says": answer.large_system,
        "send the schema": schema,
    }
    yield from (f"{does} {str(text)!r}" for does, text in texts.items() if text)
    if answer.request_fields:
        yield f"add fields to each request: {', '.join(answer.request_fields)!r}"
