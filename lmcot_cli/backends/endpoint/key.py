"""Find the API key, and keep it out of everything but the request."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass

from lmcot_cli.backends.endpoint.address import Address
from lmcot_cli.backends.endpoint.options import EndpointOptions
from lmcot_cli.backends.naming import NamedBy
from lmcot_cli.errors import ModelError, UsageError
from lmcot_cli.settings.file import own_path
from lmcot_cli.settings.keys import own_keys

VARIABLE = "OPENAI_API_KEY"
REDACTED = "[key]"
_LONG = 12
"""Characters of a key that no text holds by chance. Shorter ones are mostly stand-ins such as `test` or `-`, for
servers that want any key."""

_COMMAND_SECONDS = 120
_ADVICE = f"set {VARIABLE}, or name a command that prints the key: --key-command CMD"


class ApiKey:
    """A key, or none, that does not appear in a repr, a log or a message.

    Attributes:
        advice: What to type if the endpoint refuses it.
    """

    def __init__(self, value: str | None, advice: str) -> None:
        self._value, self.advice = value, advice
        self._long = len(value or "") >= _LONG
        written = _written(value or "")
        self._in_messages = re.compile(written if self._long else rf"(?<![\w-]){written}(?![\w-])")
        self._in_replies = re.compile(written.encode())

    def __repr__(self) -> str:
        return f"ApiKey({REDACTED if self._value else None})"

    def __bool__(self) -> bool:
        return self._value is not None

    def reveal(self) -> str:
        """Return the key itself, for the header of a request; empty if there is none."""
        return self._value or ""

    def redact(self, text: str) -> str:
        """Take the key out of a message from outside; a short one only where it is a separate word."""
        return self._in_messages.sub(REDACTED, text) if self._value else text

    def redact_reply(self, text: str) -> str:
        """Take the key out of the text of a reply; see `redact_bytes`."""
        return self.redact(text) if self._long else text

    def redact_bytes(self, content: bytes) -> bytes:
        """Take the key out of a reply, since some endpoints echo their requests.

        A short one stays, for it may well be part of an answer or a number.
        """
        return self._in_replies.sub(REDACTED.encode(), content) if self._long else content


def _written(key: str) -> str:
    """Return a pattern of the key as it is, and as JSON may escape it."""
    escapes = dict.fromkeys("\"'/\\", r"\\*")
    return "".join(rf"(?:\\u(?i:{ord(char):04x})|{escapes.get(char, '')}{re.escape(char)})" for char in key)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the key of one endpoint comes from; a key belongs to one host and is sent to no other.

    Attributes:
        advice: What to type if there is none.
        variable: The environment variable that holds it.
        command: The command that prints it.
    """

    advice: str
    variable: str | None = None
    command: str | None = None

    @property
    def name(self) -> str:
        """Return its name in messages."""
        return "--key-command" if self.command is not None else self.variable or "none"

    @property
    def there(self) -> bool:
        """Whether there is a key, as far as that can be seen without running the command."""
        return self.command is not None or bool(self.variable and _from_variable(self.variable))

    def read(self) -> str:
        """Return the key; empty if there is none.

        Raises:
            UsageError: The command cannot be read.
            ModelError: It fails.
        """
        if self.command is not None:
            return _from_command(self.command)
        return _from_variable(self.variable) if self.variable else ""


def key_source(address: Address, options: EndpointOptions) -> KeySource:
    """Choose the key of an endpoint.

    Hosts that the command line names get the key of the command, if there is one. A host that `[keys]` of the user's
    own settings file names gets that key or none; every other host gets the one of OPENAI_API_KEY. Hosts are named by
    the command line, the environment, and settings files that are the user's own, named or confirmed.

    Raises:
        InputError: The user's settings file cannot be read.
    """
    if address.plain and not address.loopback and not options.allow_plain_http_key:
        return KeySource(
            f"no key was sent, because {address.url} is plain http, which anybody on the way can read:"
            " use https, or --allow-plain-http-key"
        )
    if options.key_command is not None and address.named_by is NamedBy.COMMAND_LINE:
        return KeySource(_ADVICE, command=options.key_command)
    if own := own_keys().variable_of(address.host, address.port):
        return KeySource(f"set {own}, which [keys] in {own_path()} names for {address.place}", own)
    if options.key_command is not None:
        return KeySource(f"set {VARIABLE}; --key-command is for hosts that the command line names", VARIABLE)
    return KeySource(_ADVICE, VARIABLE)


def find_key(address: Address, options: EndpointOptions) -> ApiKey:
    """Read the key of an endpoint, unless others could read it on the way there.

    Raises:
        UsageError: The key command cannot be read.
        InputError: The user's settings file cannot be read.
        ModelError: The command fails, or what it prints is no key.
    """
    source = key_source(address, options)
    value = source.read()
    if not value:
        return ApiKey(None, source.advice)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ModelError(f"{source.name} gives no key: it holds spaces, line ends or characters beyond ASCII")
    return ApiKey(value, f"check the key of {source.name}: is it of this endpoint, and still valid?")


def _from_variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _from_command(command: str) -> str:
    words = _words(command)
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, from the command line only, without a shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds a null character"
        raise ModelError(f"--key-command {words[0]!r} cannot be run: {reason}") from None
    except subprocess.TimeoutExpired:
        raise ModelError(f"--key-command {words[0]!r} printed no key for {_COMMAND_SECONDS} s") from None
    if done.returncode:
        raise ModelError(f"--key-command {words[0]!r} failed with exit status {done.returncode}")
    key = done.stdout.decode("utf-8", "replace").strip()
    if not key:
        raise ModelError(f"--key-command {words[0]!r} printed no key")
    return key


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--key-command: {str(error).lower()}; quote it as in a shell") from None
    if not words:
        raise UsageError("--key-command is empty: name a command that prints the key")
    return words
