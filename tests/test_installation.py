"""What is missing, what does not fit, what is newer than tested, and what a container allows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from lmcot_cli import installation
from lmcot_cli.installation import (
    core_quota,
    free_space,
    memory_limit,
    missing_packages,
    newer_packages,
    unfit_packages,
)

ROOT = Path(__file__).parents[1]


def test_extras_name_the_packages_they_lack() -> None:
    requirements = [
        "typer>=0.16",
        'no-such-package-0>=8.3; extra == "dev"',
        'no-such-package-a>=1; extra == "train"',
        "no-such-package-b[x]>=2 ; python_version > '3' and extra == 'train'",
        "no-such-package-c>=2 ; python_version < '3' and extra == 'train'",
        'lmcot[plot]; extra == "train"',
        'no-such-package-d>=2; extra == "plot"',
    ]
    assert missing_packages(requirements) == {
        "train": ("no-such-package-a", "no-such-package-b", "no-such-package-d"),
        "plot": ("no-such-package-d",),
    }


def test_a_version_that_does_not_fit_comes_with_what_mends_it() -> None:
    assert unfit_packages(["typer>=0.1", "no-such-package>=3"]) == {}
    found = unfit_packages(["rich<1,>=0.5"])["rich"]
    assert found.endswith("does not fit: pip install --upgrade 'rich<1,>=0.5'")


@pytest.mark.parametrize(
    ("version", "told"), [("3.52.9", False), ("3.53.0", True), ("4.0", True), ("1.60", False)]
)
def test_a_package_newer_than_tested_is_told_of(
    version: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "version_of", lambda name: version if name == "openai" else None)
    assert bool(newer_packages()) is told
    assert not told or "pip install 'openai==3.52.0'" in newer_packages()["openai"]


def test_what_lmcot_is_tested_with_is_what_its_constraints_say() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", lines, re.MULTILINE))
    for name, tested in installation.TESTED.items():
        assert Version(pinned[name.replace("_", "-")]) == Version(tested)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container(files: dict[str, str], cores: float | None, tmp_path: Path) -> None:
    write(tmp_path, files)
    assert core_quota(tmp_path) == cores


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_memory_of_a_container(file: str, tmp_path: Path) -> None:
    whole = memory_limit(tmp_path)
    write(tmp_path, {file: "1048576\n"})
    assert whole is not None and whole > 1048576 == memory_limit(tmp_path)
    write(tmp_path, {file: "max\n"})
    assert memory_limit(tmp_path) == whole


def test_free_space_is_that_of_the_disk_that_a_folder_is_made_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "yet"))
    assert free_space()[str(tmp_path / "not" / "yet")] > 0


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
