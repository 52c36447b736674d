"""Keep replies in one SQLite file, so that no request is paid for twice.

The file holds each reply with a digest of its request; neither prompts nor keys are in it. Each reply is committed as
it arrives, so a process that is killed loses none that it had received.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from lmcot_cli.backends.base import Completion
from lmcot_cli.errors import ModelError

FILE_NAME = "replies.sqlite"
APPLICATION_ID = 0x6C6D636F
"""Marks the file as ours (`PRAGMA application_id`), so that we never write to another program's database."""

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE IF NOT EXISTS replies (digest BLOB PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID;
"""
_BUSY_SECONDS = 5.0
_INSTEAD = "name another file with --reply-cache FILE, or use --no-cache"

_REPLY = TypeAdapter(Completion)
_log = logging.getLogger(__name__)


def default_file() -> Path:
    """Return where replies are kept by default."""
    from platformdirs import user_cache_path

    return user_cache_path("lmcot") / FILE_NAME


def digest(*parts: str) -> bytes:
    """Return the key of a reply: the SHA-256 of everything that identifies its request."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


class ReplyCache:
    """The replies of one file. Several processes may use it at once.

    Once it is open it raises no errors: a reply that cannot be kept or read costs money again, and one warning says so.

    Args:
        path: The file; created if it is missing, readable only by the user.

    Raises:
        ModelError: The file cannot be opened, is damaged, or belongs to another program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._warned = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # One at a time: SQLite does not wait where two processes set up the write-ahead log of a new database.
            with FileLock(f"{path}.lock", timeout=_BUSY_SECONDS, mode=0o600):
                self._database = _opened(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModelError(f"{path}: the reply cache cannot be written: {reason}; {_INSTEAD}") from error
        except sqlite3.Error as error:
            raise ModelError(f"{path}: cannot be used as a reply cache ({error}); {_INSTEAD}") from error

    def find(self, digest: bytes) -> Completion | None:
        """Return the reply that is kept under `digest`, or None."""
        try:
            found = self._database.execute("SELECT reply FROM replies WHERE digest = ?", (digest,)).fetchone()
            return _REPLY.validate_json(found[0], strict=True) if found else None
        except (sqlite3.Error, TypeError) as error:
            self._warn("read", error)
        except ValidationError:
            self._warn("read", "an entry is damaged")
        return None

    def keep(self, digest: bytes, reply: Completion) -> None:
        """Keep a reply; it is in the file when this returns."""
        try:
            text = json.dumps(asdict(reply))
            self._database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (digest, text))
        except sqlite3.Error as error:
            self._warn("written", error)

    def close(self) -> None:
        """Close the file; calling it twice does no harm."""
        self._database.close()

    def _warn(self, what: str, error: Exception | str) -> None:
        if not self._warned:
            message = "%s: the reply cache cannot be %s (%s); what it lacks is paid for again"
            _log.warning(message, self._path, what, error)
        self._warned = True


def _opened(path: Path) -> sqlite3.Connection:
    """Open the database, or create it.

    Raises:
        OSError: The file cannot be created or written.
        sqlite3.Error: It is damaged, locked or another program's.
    """
    # Only a new file is opened by hand: closing one drops all locks that this process holds on it.
    if not path.is_file():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # Autocommit: each reply is its own transaction. One thread opens the database, the event loop's uses it.
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        (owner,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and owner != APPLICATION_ID:
            raise sqlite3.DatabaseError("it is another program's database")
        # In a write-ahead log a commit is one append, which the kernel keeps if the process is killed.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            database.executescript(_SCHEMA)
        database.execute("SELECT digest, reply FROM replies LIMIT 1").fetchone()
        # A read-only file fails here, not at the first reply.
        database.executescript("BEGIN IMMEDIATE; COMMIT")
    except BaseException:
        database.close()
        raise
    return database
