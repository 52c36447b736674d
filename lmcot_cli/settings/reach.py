"""What a settings file would do besides setting numbers and switches, in words that let a user decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lmcot_cli.backends.endpoint import address
from lmcot_cli.backends.endpoint.key import key_source
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.naming import FromSettings, NamedBy, resolve_name
from lmcot_cli.backends.specs import downloads, names_endpoint
from lmcot_cli.models import catalogue, embedded
from lmcot_cli.settings.declaration import Given


def reach_of(models: Mapping[str, str], answer: Given, *, prices: bool) -> tuple[str, ...]:
    """Return what a file would do that the user should know first; nothing if it only sets numbers and switches.

    The embedded models and those of the catalogue are well known and not listed. Any other model on this machine may
    have come with the file.

    Args:
        models: Its aliases of models.
        answer: Its defaults of `lmcot answer`.
        prices: Whether it sets prices.

    Raises:
        LmcotError: A spec cannot be understood.
    """
    chosen = (answer[role] for role in ("small", "large") if role in answer)
    specs = [*models.values(), *chosen]
    found = [*_models(specs, models), *_files(answer)]
    if prices:
        found.append("set the prices that --max-cost uses")
    return tuple(dict.fromkeys(found))


def _models(specs: list[str], aliases: Mapping[str, str]) -> Iterator[str]:
    for spec in specs:
        named = resolve_name(FromSettings(spec), aliases).spec
        if names_endpoint(named):
            place = address.parse(named, NamedBy.SETTINGS)
            key = key_source(place, EndpointOptions())
            with_key = f"with the key of {key.name}" if key.there else "without a key"
            yield f"send questions to {place.place} ({with_key})"
        elif not (catalogue.find(spec) or named.startswith(embedded.SCHEME)):
            files = downloads(named)
            yield from (f"download {file.repository} from the hub" for file in files)
            if not files:
                yield f"load the model {named!r}"


def _files(answer: Given) -> Iterator[str]:
    """Yield what the file decides about prompts and requests, and which files it makes lmcot read."""
    kind = answer.get("answer_kind", "")
    texts: Mapping[str, str | Path | None] = {
        "take prompts from": answer.get("prompts"),
        "take examples from": answer.get("shots_from"),
        "set the system message of the small LM:": answer.get("small_system"),
        "set the system message of the large LM:": answer.get("large_system"),
        "send the schema": kind if kind.startswith("json:") else None,
    }
    yield from (f"{does} {str(text)!r}" for does, text in texts.items() if text)
    for adapter in answer.get("small_adapter", ()):
        yield f"load the adapter {adapter!r}"
    if fields := answer.get("request_fields"):
        yield f"add fields to each request: {', '.join(fields)!r}"
