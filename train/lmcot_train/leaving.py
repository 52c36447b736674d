"""Stop training where little is lost: after the current step, with a checkpoint to continue from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from transformers import TrainerCallback

from lmcot_cli.interrupts import how_to_stop_now, stopping
from lmcot_train.run_folder import process_count

STOP_SECONDS = 10.0
"""How long the step and its checkpoint may take; otherwise the run continues from the checkpoint before."""


class StopRequest:
    """Whether the user asked to stop, by Ctrl-C for example."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Note the request and tell the user, not through Python's streams: this may interrupt anything."""
        self.asked = True
        with suppress(OSError):
            os.write(2, f"stopping after this step; {how_to_stop_now()}\n".encode())
        return True

    def obey(self) -> None:
        """Raise KeyboardInterrupt if the user asked to stop."""
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def stopping_after_step() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C into a request; processes that train together wait for one another, so they end at once."""
    request = StopRequest()
    if process_count() > 1:
        yield request
        return
    with stopping(request, STOP_SECONDS):
        yield request


class StopAfterStep(TrainerCallback):  # type: ignore[misc]
    """Lets a trainer of transformers keep its state and end when the user asked to stop."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint and the end."""
        if self._request.asked:
            control.should_save = control.should_training_stop = True
