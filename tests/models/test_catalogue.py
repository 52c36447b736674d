"""The catalogue holds what `pull` and `--small`/`--large` can use."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from lmcot_cli.backends.naming import resolve_name
from lmcot_cli.models import catalogue, hub


@pytest.mark.parametrize("entry", catalogue.CATALOGUE, ids=lambda entry: entry.name)
def test_an_entry_names_a_file_of_the_hub(entry: catalogue.Entry) -> None:
    assert hub.parse(entry.hub_spec) == hub.HubFile(entry.repository, entry.file)
    assert entry.license and entry.size > 10**7


def test_names_are_unique_and_found_in_any_case() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    assert catalogue.find("SmolLM2-135M") is catalogue.CATALOGUE[0]
    assert catalogue.find("unknown") is None


def test_small_models_have_under_a_billion_parameters() -> None:
    # At 8 bits a weight or less, a file above 1.1 GB cannot hold fewer than a billion of them.
    assert all(entry.size < 1_100_000_000 for entry in catalogue.CATALOGUE if entry.role == "small")
    assert {entry.role for entry in catalogue.CATALOGUE} == {"small", "large"}


class Installed:
    """A distribution whose files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def locate_file(self, path: str) -> Path:
        return self._folder / path


def test_the_file_of_an_installed_package_is_taken_and_else_the_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.find("smollm2-135m")
    assert entry and entry.package
    file = tmp_path / entry.package.file
    monkeypatch.setattr(catalogue, "distribution", lambda name: Installed(tmp_path))
    assert (entry.packaged, resolve_name("smollm2-135m", {}).spec) == (
        None,
        entry.hub_spec,
    )  # installed without its file
    file.parent.mkdir()
    file.touch()
    assert (entry.packaged, resolve_name("SmolLM2-135M", {}).spec) == (file, str(file))

    def none(name: str) -> Installed:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(catalogue, "distribution", none)
    assert (entry.packaged, entry.spec) == (None, entry.hub_spec)


def test_what_thinks_is_said() -> None:
    thinking = {entry.name: entry.thinking for entry in catalogue.CATALOGUE}
    assert (thinking["qwen3-8b"], thinking["gpt-oss-20b"], thinking["qwen3-4b-2507"]) == (
        "optional",
        "always",
        "never",
    )
    assert not any("think" in entry.note for entry in catalogue.CATALOGUE)
