"""Models on the Hugging Face hub: GGUF files (`hf:org/repo:FILE.gguf`), downloads, and the local cache.

`huggingface_hub` does the work, so HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE have their usual meaning. It is
imported inside functions, so that the command line starts quickly.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from lmcot_cli.errors import LmcotError, ModelError, ModelSpecError, OutputError
from lmcot_cli.model_files.gguf_parts import part_names
from lmcot_cli.model_files.weights import MODEL_INDEX, weight_files

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

SCHEME = "hf:"
CONNECT_TIMEOUT = 10.0
"""Seconds in which the hub must say whether it has a file."""
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Files of a repository that make up a transformers model; pickled weights are left out."""
_REPOSITORY = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)
_SPEC = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+):(?P<file>[^:]+\.gguf)", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository on the hub; `file` may be in a folder of it."""

    repository: str
    file: str

    @property
    def spec(self) -> str:
        """The model spec."""
        return f"{SCHEME}{self.repository}:{self.file}"


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of the local cache; `size` in bytes."""

    source: HubFile
    path: Path
    size: int


def parse(spec: str) -> HubFile:
    """Read `hf:org/repo:FILE.gguf`.

    Raises:
        ModelSpecError: It has another form.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or not {"", ".", ".."}.isdisjoint(match["file"].split("/")):
        raise ModelSpecError(f"{spec!r} does not name a GGUF file on the hub; write hf:ORG/REPO:FILE.gguf")
    return HubFile(match["repository"], match["file"])


def host() -> str:
    """Return the host of the hub: huggingface.co, or that of HF_ENDPOINT."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def is_repository(name: str) -> bool:
    """Return whether a name may be that of a repository, `ORG/REPO`."""
    return bool(_REPOSITORY.fullmatch(name))


def token_name() -> str:
    """Return, in words, whether the hub gets a token."""
    from huggingface_hub import get_token

    return "with your Hugging Face token" if get_token() else "without a token"


def find(source: HubFile) -> Path | None:
    """Return the file's path in the local cache, None if it is not there; nothing is sent to the hub.

    Raises:
        ModelSpecError: The hub accepts no such repository name.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        here = try_to_load_from_cache(source.repository, source.file)
    except HFValidationError as error:
        raise ModelSpecError(f"{source.spec}: {error}") from error
    return Path(here) if isinstance(here, str) else None


def download(source: HubFile) -> Path:
    """Return the file's path in the local cache; download it first if it is not there, with its other parts if split.

    A file that is there is used without a request to the hub, so that what worked once works with the network off.

    Raises:
        ModelSpecError: The hub accepts no such repository name.
        ModelError: No such repository or file, no permission, or no connection.
        OutputError: The cache cannot be written.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP library differs between versions of huggingface_hub; its base error is this class's first base.
    transport_error = cast("type[OSError]", HfHubHTTPError.__bases__[0])
    parts = [HubFile(source.repository, name) for name in part_names(source.file)]
    places: list[Path] = []
    for part in parts:
        try:
            if here := find(part):
                places.append(here)
                continue
            _ask_once(part)
            places.append(Path(hf_hub_download(part.repository, part.file)))
        except (OSError, transport_error) as error:
            raise _explain(part, error) from error
    return places[0]


@contextmanager
def switched_off() -> Iterator[None]:
    """Switch the hub off in this block, as HF_HUB_OFFLINE=1 does.

    Libraries that open a model request more from it than one would expect: the base that an adapter names, kernels, a
    conversion of the weights. Their requests end in `OfflineModeIsEnabled`.
    """
    from huggingface_hub import constants, utils

    before = constants.HF_HUB_OFFLINE
    # Sessions remember whether they were created online; from version 1 on, they look when they are used.
    forget = getattr(utils, "reset_sessions", lambda: None)
    constants.HF_HUB_OFFLINE = True
    forget()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        forget()


def cached_model(repository: str, named_by: Path) -> Path:
    """Return the folder of a repository's model in the local cache; nothing is sent to the hub.

    Args:
        repository: `ORG/REPO`.
        named_by: The file that names it.

    Raises:
        ModelError: It is not there.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if _REPOSITORY.fullmatch(repository):
            return Path(snapshot_download(repository, allow_patterns=[*MODEL_FILES], local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        pass
    raise ModelError(
        f"{named_by}: names {repository[:200]!r} as its base, which is no folder here and is not in the local cache;"
        " what a file names is not downloaded: if you trust that model, fetch it yourself (hf download) or put it back"
    )


def download_model(repository: str, *, remote_code: bool = False) -> Path:
    """Return the folder of a repository's model in the local cache, fetching what is not there.

    Args:
        repository: `ORG/REPO`.
        remote_code: Fetch its Python files too.

    Raises:
        ModelError: No such folder or repository, no permission, or no connection.
        OutputError: The cache cannot be written.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    if not is_repository(repository):
        raise ModelError(f"{repository}: no such folder, and no name on the hub; check the path")
    patterns = [*MODEL_FILES, *(["*.py"] if remote_code else [])]
    transport_error = cast("type[OSError]", HfHubHTTPError.__bases__[0])  # see `download`
    try:
        with suppress(LocalEntryNotFoundError):
            here = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
            if _is_complete(here):
                return here
        _ask_once(HubFile(repository, "config.json"))
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except HFValidationError as error:
        raise ModelError(f"{repository}: no such folder, and no name on the hub: {error}") from error
    except OfflineModeIsEnabled as error:
        raise ModelError(
            f"{repository}: no such folder, and not in the local cache; unset HF_HUB_OFFLINE to download it"
        ) from error
    except (OSError, transport_error) as error:
        raise _explain(HubFile(repository, "config.json"), error) from error


def _is_complete(folder: Path) -> bool:
    """Return whether all weights are there; an interrupted download lacks some."""
    if not (folder / MODEL_INDEX).is_file():
        return any(folder.glob("*.safetensors"))
    try:
        return bool(weight_files(folder))
    except ModelError:
        return False


def _ask_once(source: HubFile) -> None:
    """Raise the error that a download would meet; the download itself would retry for half a minute first."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(source.repository, source.file)
    hf_raise_for_status(get_session().head(url, headers=build_hf_headers(), timeout=CONNECT_TIMEOUT))


def cached() -> list[CachedFile]:
    """Return the GGUF files of the local cache, sorted by repository and name."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = {}
    for repository in repositories:
        for revision in sorted(repository.revisions, key=lambda revision: revision.last_modified):
            for file in revision.files:
                if file.file_name.endswith(".gguf"):
                    name = file.file_path.relative_to(revision.snapshot_path).as_posix()
                    source = HubFile(repository.repo_id, name)
                    found[source] = CachedFile(source, file.file_path, file.size_on_disk)
    return sorted(found.values(), key=lambda entry: entry.source.spec)


def _explain(source: HubFile, error: Exception) -> LmcotError:
    """Return what went wrong and what to do; subclasses come before their bases."""
    from huggingface_hub import constants, errors

    page = f"{_without_password(constants.ENDPOINT)}/{source.repository}"
    message = f"{page}: the connection failed ({type(error).__name__}); check the network and try again"
    match error:
        case errors.LocalEntryNotFoundError():  # a connection that was there a moment ago
            pass
        case errors.GatedRepoError():
            message = f"{source.repository} is gated: accept its licence at {page}, then set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            message = f"no repository at {page}; check the name, or set HF_TOKEN if it is private"
        case errors.OfflineModeIsEnabled():
            message = f"{source.spec} is not in the local cache; unset HF_HUB_OFFLINE to download it"
        case errors.EntryNotFoundError():
            message = f"{source.repository} has no file {source.file}; its files: {page}/tree/main"
        case errors.HfHubHTTPError():
            message = _explain_status(page, error)
        case OSError(errno=int(number)):
            return _explain_disk(Path(constants.HF_HUB_CACHE), number, error.strerror)
    return ModelError(message)


def _explain_status(page: str, error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else None
    if status in (401, 403):
        return f"{page}: no permission (HTTP {status}); set HF_TOKEN to a token with read access"
    return f"{page}: the hub answered HTTP {status}; try again later"


def _explain_disk(cache: Path, number: int, reason: str | None) -> OutputError:
    if number == errno.ENOSPC:
        return OutputError(
            f"{cache}: no space left on the disk; free some, or set HF_HOME to a folder on another disk"
        )
    return OutputError(f"{cache}: {reason}; set HF_HOME to a writable folder")
