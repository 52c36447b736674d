"""Let go of a batch that llama.cpp computes, at once, when a signal asks for the end."""

from __future__ import annotations

import ctypes
from typing import Any

from lmcot_cli.backends.llama.library import llama

ABORTED = 2
"""What `llama_decode` returns then; it has taken the batch out of the KV cache again."""


class AbandonedError(Exception):
    """The batch was not computed; what it was to hold can be decoded anew."""


class AbandonSwitch:
    """A byte that llama.cpp looks at before every node of its graph, a thousand times a token.

    A callback of Python's would cost a tenth of the speed. `strlen` of the C library takes a pointer as such a callback
    does, and tells a string that is empty from one that is not: nothing more is needed.
    """

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)
        self._armed = False

    def connect(self, context: Any) -> None:
        """Let a `llama_context *` look at it."""
        api = llama()
        library = ctypes.CDLL(None)
        self._callback = ctypes.cast(library.strlen, api.ggml_abort_callback)
        api.llama_set_abort_callback(context, self._callback, ctypes.addressof(self._byte))

    def arm(self, *, armed: bool) -> None:
        """Begin a batch that may be abandoned, or one that may not."""
        self._armed = armed
        self._byte[0] = b"\0"

    def press(self) -> None:
        """Have the present batch abandoned, if it may be; from any thread."""
        if self._armed:
            self._byte[0] = b"\1"
