"""Abandon the batch that llama.cpp computes, at once, when a signal arrives."""

from __future__ import annotations

import ctypes
from typing import Any

from lmcot_cli.backends.llama.library import llama

ABORTED = 2
"""What `llama_decode` returns then; it has removed the batch from the KV cache."""


class AbandonedError(Exception):
    """The batch was not computed; its tokens can be decoded again."""


class AbandonSwitch:
    """A byte that llama.cpp checks before every node of its graph, a thousand times per token.

    A callback in Python would cost a tenth of the speed. `strlen` of the C library has the signature of such a
    callback, and tells whether the string is empty, which is enough.
    """

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)
        self._armed = False

    def connect(self, context: Any) -> None:
        """Make a `llama_context *` check it."""
        api = llama()
        library = ctypes.CDLL(None)
        self._callback = ctypes.cast(library.strlen, api.ggml_abort_callback)
        api.llama_set_abort_callback(context, self._callback, ctypes.addressof(self._byte))

    def arm(self, *, armed: bool) -> None:
        """Prepare for a batch that may be abandoned, or for one that may not."""
        self._armed = armed
        self._byte[0] = b"\0"

    def press(self) -> None:
        """Abandon the current batch, if it may be abandoned; any thread may call this."""
        if self._armed:
            self._byte[0] = b"\1"
