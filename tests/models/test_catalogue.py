"""The catalogue holds what `pull` and `--small`/`--large` can use."""

from __future__ import annotations

import pytest

from lmcot_cli.models import catalogue, hub


@pytest.mark.parametrize("entry", catalogue.CATALOGUE, ids=lambda entry: entry.name)
def test_an_entry_names_a_file_of_the_hub(entry: catalogue.Entry) -> None:
    assert hub.parse(entry.spec) == hub.HubFile(entry.repository, entry.file)
    assert entry.license


def test_names_are_unique_and_found_in_any_case() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert catalogue.find("SmolLM2-135M") is catalogue.CATALOGUE[0]
    assert catalogue.find("unknown") is None


def test_small_models_have_under_a_billion_parameters() -> None:
    # At 8 bits a weight or less, a file above 1.1 GB cannot hold fewer than a billion of them.
    assert all(entry.size < 1_100_000_000 for entry in catalogue.CATALOGUE if entry.role == "small")
    assert {entry.role for entry in catalogue.CATALOGUE} == {"small", "large"}
