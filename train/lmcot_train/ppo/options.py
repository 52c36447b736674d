"""The settings of PPO (GRPO uses some of them), each with the effect of a higher or lower value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from lmcot_cli.settings.declaration import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Rule, check, setting

_MOST = 1_000_000
"""Rationales per update, and tokens per rationale, that no machine can process; more would seem to hang."""
_SEEDS = Rule(least=0, most=2**32 - 1)
"""The range of seeds of every library."""
_LEARNING, _SAMPLING, _RUN = "Learning", "Sampling", "Run"


@dataclass(frozen=True, slots=True)
class PPOOptions:
    """How to refine; the defaults suit models from a few million to half a billion parameters, with LoRA."""

    updates: int = setting(
        100,
        "Number of updates, each with --batch times --samples rationales; a higher one continues a finished run.",
        rule=COUNT,
        panel=_LEARNING,
    )
    minutes: float | None = setting(
        None,
        "Minutes of training (all sessions together) after which the run ends, if that comes first.",
        shown="no limit",
        rule=POSITIVE,
        panel=_LEARNING,
    )
    batch: int = setting(
        16, "Questions per update; more make updates steadier and slower.", rule=COUNT, panel=_SAMPLING
    )
    samples: int = setting(
        4,
        "Rationales per question; they share the work on the prompt, so 4 cost far less than 4 questions.",
        rule=COUNT,
        panel=_SAMPLING,
    )
    max_tokens: int = setting(
        128,
        "Maximum tokens per rationale; one that reaches it counts as unfinished.",
        rule=Rule(least=1, most=_MOST),
        panel=_SAMPLING,
    )
    temperature: float = setting(
        1.0,
        "Temperature of the sampling, and of the distribution that is optimized; a lower one explores less.",
        rule=POSITIVE,
        panel=_SAMPLING,
    )
    epochs: int = setting(
        2,
        "Epochs over each update's rationales; more learn faster, until clipping holds them back.",
        rule=COUNT,
        panel=_LEARNING,
    )
    minibatches: int = setting(4, "Optimizer steps per epoch.", rule=COUNT, panel=_LEARNING)
    policy_rate: float = setting(
        1e-4,
        "Learning rate of the adapter; for all weights a tenth of it is enough.",
        name="learning_rate",
        rule=POSITIVE,
        panel=_LEARNING,
    )
    value_rate: float = setting(1e-3, "Learning rate of the value head.", rule=POSITIVE, panel=_LEARNING)
    warm_up: int = setting(
        3, "Updates over which both learning rates rise to their full value.", rule=NOT_NEGATIVE, typed=False
    )
    # At falling rates the noise in the weights averages out; a run that `minutes` ends hardly gets there.
    decay: float = setting(
        0.0,
        "Share of the updates, at the end, over which the learning rates fall to zero; --updates is fixed then.",
        rule=SHARE,
        panel=_LEARNING,
    )
    clip: float = setting(
        0.2,
        "Relative change of a token's probability in an update beyond which the token no longer counts.",
        rule=POSITIVE,
        panel=_LEARNING,
    )
    value_clip: float = setting(
        0.2, "Distance by which a value estimate may move in an update.", rule=POSITIVE, typed=False
    )
    value_weight: float = setting(
        0.1,
        "Weight of the value loss in weights shared with the policy.",
        rule=NOT_NEGATIVE,
        panel=_LEARNING,
    )
    entropy_weight: float = setting(
        0.0,
        "Weight of a bonus for entropy; above 0 it works against a collapse to one phrasing.",
        rule=NOT_NEGATIVE,
        panel=_LEARNING,
    )
    discount: float = setting(1.0, "Gamma; below 1 favours short rationales.", rule=SHARE, typed=False)
    trace: float = setting(
        0.95,
        "Lambda of the advantages (GAE): lower trusts the value head more, 1 trusts the rewards alone.",
        name="gae_lambda",
        rule=SHARE,
        panel=_LEARNING,
    )
    leave_one_out: bool = setting(
        False,
        "Subtract from each reward the mean of the question's other samples, which removes the difficulty of questions"
        " from the advantages.",
        panel=_LEARNING,
    )
    advantage_floor: float = setting(
        0.1,
        "Spread below which advantages are not scaled up to 1, so that differences too small to mean anything move"
        " nothing; 0 is plain whitening.",
        rule=NOT_NEGATIVE,
        typed=False,
    )
    kl_coefficient: float = setting(
        0.05, "Weight of the KL penalty at the start.", rule=NOT_NEGATIVE, panel=_LEARNING
    )
    kl_target: float = setting(
        3.0,
        "KL to the reference to hold, in nats per rationale. A higher one lets the policy go further; one that is too"
        " high lets it exploit the reward.",
        rule=POSITIVE,
        panel=_LEARNING,
    )
    kl_gain: float = setting(
        0.1, "How fast the weight of the KL penalty adapts; 0 keeps it.", rule=NOT_NEGATIVE, typed=False
    )
    epoch_kl: float = setting(
        0.05,
        "KL to the policy that sampled, in nats per token, above which an update ends before its last epoch.",
        rule=POSITIVE,
        typed=False,
    )
    run_kl: float = setting(
        50.0,
        "KL to the reference, in nats per rationale, above which the run ends, since it has diverged.",
        rule=POSITIVE,
        panel=_LEARNING,
    )
    max_grad_norm: float = setting(
        1.0, "Norm to which longer gradients are clipped.", rule=POSITIVE, typed=False
    )
    tokens_per_pass: int = setting(
        4096,
        "Tokens per pass through the network; fewer take less memory and give the same result.",
        rule=COUNT,
        panel=_LEARNING,
    )
    validate_every: int = setting(
        10,
        "Updates between validations (greedy rationales for the rows held out); 0 for none.",
        rule=NOT_NEGATIVE,
        panel=_RUN,
    )
    save_every: int = setting(5, "Updates between checkpoints.", rule=COUNT, panel=_RUN)
    seed: int = setting(
        0, "Seed of the order of rows, the sampling and the minibatches.", rule=_SEEDS, panel=_RUN
    )

    def check(self) -> None:
        """Raise a UsageError that names everything that cannot work, its value, and what it may be."""
        check(self, *self._conflicts())

    def _conflicts(self) -> Iterator[str]:
        if self.batch * self.samples > _MOST:
            larger = "batch" if self.batch > self.samples else "samples"
            value = getattr(self, larger)
            yield f"--{larger} {value}: give less: --batch times --samples is at most {_MOST}"
        if self.minibatches > self.batch:
            yield (
                f"--minibatches {self.minibatches}: give at most --batch ({self.batch}):"
                " a prompt's samples stay together"
            )
        if self.leave_one_out and self.samples < 2:
            yield f"--samples {self.samples}: give 2 or more with --leave-one-out"
        if self.run_kl <= self.kl_target < inf:
            yield f"--run-kl {self.run_kl:g}: give more than --kl-target ({self.kl_target:g})"
