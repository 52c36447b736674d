"""Stop training where little is lost: after the step under way, with a checkpoint to go on from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmcot_cli.interrupts import how_to_stop_now, stopping
from lmcot_train.run_folder import process_count

STOP_SECONDS = 10.0
"""How long the step and its checkpoint may take; after that a run goes on from the checkpoint before."""


class StopRequest:
    """Whether somebody asked for the end, by Ctrl-C say.

    Attributes:
        asked: Whether.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Note it, and say that it was heard; this comes from within anything, so no stream of Python's is used."""
        self.asked = True
        with suppress(OSError):
            os.write(2, f"stopping after this step; {how_to_stop_now()}\n".encode())
        return True

    def obey(self) -> None:
        """End the run, if that was asked for.

        Raises:
            KeyboardInterrupt: It was.
        """
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def stopping_after_step() -> Iterator[StopRequest]:
    """Within, the first Ctrl-C is a request; processes that train together, which wait for one another, end at once."""
    request = StopRequest()
    if process_count() > 1:
        yield request
        return
    with stopping(request, STOP_SECONDS):
        yield request


class StopAfterStep(TrainerCallback):  # type: ignore[misc]
    """Lets a trainer of transformers keep its state and end, once that is asked for."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        """See whether it is."""
        if self._request.asked:
            control.should_save = control.should_training_stop = True
