"""`lmcot doctor`: what this installation can do on this machine, and what would fix the rest."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Annotated

import typer

from lmcot_cli import __version__, installation
from lmcot_cli.backends.engine_options import usable_cores
from lmcot_cli.backends.llama.weight_layouts import ADVICE
from lmcot_cli.commands.printable import escaped
from lmcot_cli.commands.stdout import write_text
from lmcot_cli.errors import InputError, LmcotError, ModelError, UnconfirmedSettingsError
from lmcot_cli.models import embedded
from lmcot_cli.models.catalogue import readable_size

KEYS = ("OPENAI_API_KEY", "HF_TOKEN")
_COMPILE = (
    "build it for this machine, with a C++ compiler: CMAKE_ARGS=-DGGML_NATIVE=OFF pip install --force-reinstall"
    " --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
_REINSTALL = "pip install --force-reinstall --no-deps lmcot, or in a checkout: git checkout lmcot_cli/models"
_ADVICE = {
    embedded.Integrity.MISSING.value: f"; {_REINSTALL}",
    embedded.Integrity.CHANGED.value: f": its checksum is not that of checksums.txt; {_REINSTALL}",
}


@dataclass(frozen=True, slots=True)
class Engine:
    """The llama.cpp that llama-cpp-python was built with.

    Attributes:
        features: The instruction sets and back ends compiled in, as llama.cpp names them.
        own_layouts: Whether weights get llama.cpp's own layouts, which they do unless these crash.
    """

    version: str
    features: tuple[str, ...]
    gpu_offload: bool
    own_layouts: bool


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything that `lmcot doctor` checks; of keys, only whether they are set.

    Attributes:
        engine: None if llama-cpp-python cannot be used; `engine_error` then says why.
        cores: CPU cores that this process may use; an engine starts as many threads by default.
        core_quota: How many cores' time a container may use; None if that is not limited.
        memory: Maximum memory of this process in bytes; None if the system does not say.
        disk: Free bytes by the folder where models and replies are kept.
        embedded: State of the embedded models by name (`ok`, `missing`, `changed`, or what else is wrong).
        config: The settings file that `lmcot answer` would read; None if there is none.
        config_error: What is wrong with that file, if anything.
        config_reach: What that file does besides setting numbers and switches: hosts, prices, prompts.
        config_used: Whether it is used; one found in the working directory may have to be confirmed first.
        missing: Missing packages by extra; complete extras are left out.
        unfit: Packages in a version that lmcot does not work with, and the command that fixes it.
        doubtful: Packages in a version that an extra does not work with, or newer than the tested one, and what to do.
    """

    lmcot: str
    python: str
    engine: Engine | None
    engine_error: str | None
    cores: int
    core_quota: float | None
    memory: int | None
    disk: Mapping[str, int]
    embedded: Mapping[str, str]
    config: str | None
    config_error: str | None
    config_reach: tuple[str, ...]
    config_used: bool
    keys: Mapping[str, bool]
    missing: Mapping[str, tuple[str, ...]]
    unfit: Mapping[str, str]
    doubtful: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the basics work: an engine, packages that fit, an intact embedded pair, no broken settings file."""
        sound = all(state == embedded.Integrity.OK.value for state in self.embedded.values())
        return self.engine is not None and sound and self.config_error is None and not self.unfit


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check this installation: llama.cpp, machine, embedded models, settings file, keys and extras."""
    report = examine()
    if as_json:
        write_text(json.dumps({"ok": report.ok} | asdict(report), indent=2))
    else:
        write_text("\n".join(f"{name + ':':<10} {value}" for name, value in _lines(report)))
    raise typer.Exit(0 if report.ok else 1)


def examine() -> DoctorReport:
    """Return what the installation and the machine are like; nothing is changed and nothing is sent."""
    engine, engine_error = _engine()
    requirements = metadata.requires("lmcot") or [] if installation.version_of("lmcot") else []
    of_extras = [requirement for requirement in requirements if "extra ==" in requirement]
    own = [requirement for requirement in requirements if requirement not in of_extras]
    config, config_error, config_reach, config_used = _config()
    return DoctorReport(
        lmcot=_version(),
        python=f"{platform.python_version()} ({sys.executable})",
        engine=engine,
        engine_error=engine_error,
        cores=usable_cores(),
        core_quota=installation.core_quota(),
        memory=installation.memory_limit(),
        disk=installation.free_space(),
        embedded={name: _embedded_state(name) for name in embedded.NAMES},
        config=config,
        config_error=config_error,
        config_reach=config_reach,
        config_used=config_used,
        keys={key: bool(os.environ.get(key)) for key in _key_variables()},
        missing=installation.missing_packages(requirements),
        unfit=installation.unfit_packages(own),
        doubtful=installation.unfit_packages(of_extras) | installation.newer_packages(),
    )


def _version() -> str:
    installed = installation.version_of("lmcot")
    if installed is None:
        return f"{__version__} (run from its source, not installed)"
    return (
        __version__
        if installed == __version__
        else f"{__version__} (installed as {installed}: install it again)"
    )


def _engine() -> tuple[Engine | None, str | None]:
    from lmcot_cli.backends.llama.library import llama

    try:
        module = llama()
    except (ImportError, OSError, RuntimeError) as error:  # the last two if its shared library does not load
        return None, f"{type(error).__name__}: {error}"
    if fault := _trial():
        return None, fault
    described = module.llama_print_system_info().decode("utf-8", errors="replace")
    features = tuple(re.findall(r"(\w+) = 1\b", described))
    return Engine(
        metadata.version("llama-cpp-python"),
        features,
        bool(module.llama_supports_gpu_offload()),
        bool(module.llama_model_default_params().use_extra_bufts),
    ), None


def _trial() -> str | None:
    """Return what goes wrong when the smallest model writes; None if nothing does, or the model is damaged."""
    from lmcot_cli.backends.llama.trial import fault_of

    sound = _embedded_state("small") == embedded.Integrity.OK.value
    return fault_of(embedded.path_of("builtin:small")) if sound else None


def _embedded_state(name: str) -> str:
    try:
        return embedded.integrity(name).value
    except ModelError as error:
        return str(error)


def _key_variables() -> tuple[str, ...]:
    """Return the variables that hold keys, including those of the user's `[keys]`."""
    from lmcot_cli.settings.keys import own_keys

    try:
        return tuple(dict.fromkeys((*KEYS, *own_keys().variables.values())))
    except InputError:  # reported as a fault of the settings file, or by the run that needs it
        return KEYS


def _config() -> tuple[str | None, str | None, tuple[str, ...], bool]:
    """Return the settings file, what is wrong with it, what it does, and whether it is used."""
    from lmcot_cli.config import load_config
    from lmcot_cli.settings.file import find_file

    path: str | None = None
    try:
        file = find_file()
        path = str(file.place) if file else None
        return path, None, load_config().reach, file is not None
    except UnconfirmedSettingsError as error:
        return path, None, error.reached, False
    except LmcotError as error:
        return path, str(error), (), False


def _config_line(report: DoctorReport) -> str:
    reach = "; ".join(report.config_reach)
    if report.config_error or not reach:
        return report.config_error or report.config or "no lmcot.toml; defaults are used"
    if report.config_used:
        return f"{report.config}; it may {reach}"
    return (
        f"{report.config} is not confirmed and therefore not used; it would {reach}:"
        " use it with --config lmcot.toml, or confirm it on a terminal"
    )


def _lines(report: DoctorReport) -> list[tuple[str, str]]:
    lines = [("lmcot", f"{report.lmcot}, Python {report.python}")]
    lines += _engine_lines(report)
    lines += _machine_lines(report)
    for name, state in report.embedded.items():
        lines.append(("models", f"{embedded.SCHEME}{name} {state}{_ADVICE.get(state, '')}"))
    lines.append(("config", escaped(_config_line(report))))
    lines.append(
        ("keys", ", ".join(f"{key} {'set' if is_set else 'not set'}" for key, is_set in report.keys.items()))
    )
    lines += [
        ("package", f"{name} {what}") for name, what in [*report.unfit.items(), *report.doubtful.items()]
    ]
    if not report.missing and installation.version_of("lmcot"):
        lines.append(("extras", "all installed"))
    for extra, packages in report.missing.items():
        lines.append(("extra", f"{extra} lacks {', '.join(packages)}: pip install 'lmcot[{extra}]'"))
    return lines


def _machine_lines(report: DoctorReport) -> list[tuple[str, str]]:
    memory = f"{report.memory / 1e9:.1f} GB memory" if report.memory else "memory unknown"
    lines = [("machine", f"{report.cores} CPU core{'s' if report.cores > 1 else ''}, {memory}")]
    if report.core_quota is not None and report.core_quota < report.cores:
        threads = max(1, int(report.core_quota))
        lines.append(
            ("threads", f"the container may use {report.core_quota:g} cores' time: use --threads {threads}")
        )
    for folder, free in report.disk.items():
        advice = (
            ""
            if free >= installation.LITTLE_SPACE
            else "; free some, or set HF_HOME to another disk for models"
        )
        lines.append(("disk", f"{readable_size(free)} free for {folder}{advice}"))
    return lines


def _engine_lines(report: DoctorReport) -> list[tuple[str, str]]:
    if report.engine is None:
        return [("llama.cpp", f"unusable ({report.engine_error}); {_COMPILE}")]
    offload = "yes" if report.engine.gpu_offload else "no, CPU only"
    return [
        ("llama.cpp", f"llama-cpp-python {report.engine.version}: {', '.join(report.engine.features)}"),
        *([] if report.engine.own_layouts else [("llama.cpp", ADVICE)]),
        ("GPU", offload),
    ]
