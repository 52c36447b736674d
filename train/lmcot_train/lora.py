"""The settings of a LoRA adapter, in a module that loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from lmcot_cli.settings.declaration import Rule, read_names, setting

_COUNT = Rule(least=1, most=1_000_000)
_PANEL = "Adapter"


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """The adapter that is trained (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = setting(
        16, "Width of the two matrices added to each target.", name="lora_rank", rule=_COUNT, panel=_PANEL
    )
    alpha: int = setting(32, "Scale, divided by the rank.", name="lora_alpha", rule=_COUNT, panel=_PANEL)
    dropout: float = setting(
        0.05,
        "Share of a target's inputs that are dropped while training.",
        name="lora_dropout",
        rule=Rule(least=0, below=1),
        panel=_PANEL,
    )
    targets: tuple[str, ...] = setting(
        ("all-linear",),
        "Layers to adapt, with commas between; all-linear is every linear layer but the output.",
        name="lora_targets",
        metavar="NAMES",
        shown="all-linear",
        read=read_names,
        in_file=str | list[str],
        panel=_PANEL,
    )
