"""The settings of PPO, each with what a higher or lower value does."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from lmcot_cli.errors import UsageError

_COUNTS = (
    "updates", "batch", "samples", "max_tokens", "epochs", "minibatches", "tokens_per_pass", "save_every"
)  # fmt: skip
_ABOVE_ZERO = (
    "temperature", "policy_rate", "value_rate", "clip", "value_clip", "kl_target", "epoch_kl", "run_kl",
    "max_grad_norm",
)  # fmt: skip
_NOT_NEGATIVE = (
    "warm_up", "value_weight", "entropy_weight", "advantage_floor", "kl_coefficient", "kl_gain",
    "validate_every",
)  # fmt: skip
_SHARES = ("discount", "trace", "decay")
_MOST = 1_000_000
"""Rationales an update, and tokens of a rationale, that no machine gets through; more would seem to hang."""
_MOST_SEED = 2**32 - 1
"""What every library that draws takes for a seed."""
_OPTIONS_OF = {"policy_rate": "--learning-rate", "trace": "--gae-lambda"}
_WITHOUT_OPTION = frozenset(
    {"warm_up", "value_clip", "discount", "advantage_floor", "kl_gain", "epoch_kl", "max_grad_norm"}
)


def option_of(name: str) -> str:
    """Return what sets a field of `PPOOptions` on the command line; its own name where nothing does."""
    return name if name in _WITHOUT_OPTION else _OPTIONS_OF.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True, slots=True)
class PPOOptions:
    """How to refine; the defaults suit models from a few million to half a billion parameters, with LoRA.

    Attributes:
        updates: Updates to make. One update samples `batch * samples` rationales and learns from them.
        minutes: Stop after this much time of training (all sessions together), if that comes first; None: never.
        batch: Questions an update. More: steadier, slower updates.
        samples: Rationales a question. They share the work on their prompt, so 4 cost far less than 4 questions.
        max_tokens: Tokens a rationale may take; one that reaches it counts as unfinished.
        temperature: Of the sampling, and of the distribution that is optimised. Below 1 explores less.
        epochs: Times each update's rationales are learnt from. More learns faster, until the clipping and
            `epoch_kl` hold it back.
        minibatches: Optimizer steps an epoch.
        policy_rate: Learning rate of the adapter (or of all weights). Ten times less for all weights.
        value_rate: Learning rate of the value head.
        warm_up: Updates over which both learning rates rise to their full value.
        decay: Share of the updates, the last ones, over which both learning rates fall to zero, in a line. What noise
            did to the weights then averages out; a run that is to end by `minutes` hardly gets there.
        clip: How far a token's probability may move in an update, as a ratio, before it stops counting.
        value_clip: How far a value estimate may move in an update.
        value_weight: Weight of the value loss in the weights shared with the policy.
        entropy_weight: Reward for staying undecided; above 0 against a collapse to one phrasing.
        discount: Gamma; below 1 favours short rationales.
        trace: Lambda of the advantages; lower trusts the value head more, with less noise and more bias.
        leave_one_out: Count each reward from the mean of the question's other samples, which takes the difficulty of
            questions out of the advantages. Needs two samples or more.
        advantage_floor: Spread of advantages below which they are no longer scaled up to 1: what a reward cannot
            tell apart then moves nothing. 0 is plain whitening.
        kl_coefficient: Weight of the KL penalty at the start.
        kl_target: KL to the reference to hold, in nats a rationale. Higher lets the policy go further from
            where it began; too high, and it finds what pleases the reward and nobody else.
        kl_gain: How fast the weight of the penalty follows; 0 keeps it.
        epoch_kl: KL to the policy that sampled, in nats a token, at which an update ends before its last epoch.
        run_kl: KL to the reference, in nats a rationale, at which the run ends: it has run away.
        max_grad_norm: Gradients longer than this are shortened to it.
        tokens_per_pass: Tokens in one pass through the network; less takes less memory, and gives the same result.
        validate_every: Updates between validations (greedy rationales for rows held out); 0: never.
        save_every: Updates between checkpoints.
        seed: Seeds the order of rows, what is sampled, and the minibatches.
    """

    updates: int = 100
    minutes: float | None = None
    batch: int = 16
    samples: int = 4
    max_tokens: int = 128
    temperature: float = 1.0
    epochs: int = 2
    minibatches: int = 4
    policy_rate: float = 1e-4
    value_rate: float = 1e-3
    warm_up: int = 3
    decay: float = 0.0
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    entropy_weight: float = 0.0
    discount: float = 1.0
    trace: float = 0.95
    leave_one_out: bool = False
    advantage_floor: float = 0.1
    kl_coefficient: float = 0.05
    kl_target: float = 3.0
    kl_gain: float = 0.1
    epoch_kl: float = 0.05
    run_kl: float = 50.0
    max_grad_norm: float = 1.0
    tokens_per_pass: int = 4096
    validate_every: int = 10
    save_every: int = 5
    seed: int = 0

    def check(self) -> None:
        """Refuse what cannot work, all of it at once.

        Raises:
            UsageError: Names each option, its value, and what it may be.
        """
        infinite = {
            name: "a finite number" for name in self._numbers() if not _is_finite(getattr(self, name))
        }
        broken = infinite | {name: rule for name, rule in self._broken_rules() if name not in infinite}
        wrong = [f"{option_of(n)} {_shown(getattr(self, n))}: give {rule}" for n, rule in broken.items()]
        if wrong:
            raise UsageError("; ".join(wrong))

    def _numbers(self) -> list[str]:
        optional = () if self.minutes is None else ("minutes",)
        return [*_COUNTS, *_ABOVE_ZERO, *_NOT_NEGATIVE, *_SHARES, *optional]

    def _broken_rules(self) -> list[tuple[str, str]]:
        broken = [(name, "1 or more") for name in _COUNTS if getattr(self, name) < 1]
        broken += [(name, "more than 0") for name in _ABOVE_ZERO if not getattr(self, name) > 0]
        broken += [(name, "0 or more") for name in _NOT_NEGATIVE if not getattr(self, name) >= 0]
        broken += [(name, "0 to 1") for name in _SHARES if not 0 <= getattr(self, name) <= 1]
        if self.batch * self.samples > _MOST:
            larger = "batch" if self.batch > self.samples else "samples"
            broken.append((larger, f"less: --batch times --samples is at most {_MOST}"))
        if self.max_tokens > _MOST:
            broken.append(("max_tokens", f"at most {_MOST}"))
        if not 0 <= self.seed <= _MOST_SEED:
            broken.append(("seed", f"0 to {_MOST_SEED}"))
        if self.minibatches > self.batch:
            broken.append(
                ("minibatches", f"at most --batch ({self.batch}): a prompt's samples stay together")
            )
        if self.leave_one_out and self.samples < 2:
            broken.append(("samples", "2 or more with --leave-one-out"))
        if self.minutes is not None and not self.minutes > 0:
            broken.append(("minutes", "more than 0"))
        if self.run_kl <= self.kl_target < inf:
            broken.append(("run_kl", f"more than --kl-target ({self.kl_target:g})"))
        return broken


def _is_finite(value: float) -> bool:
    """Whether it is a number; an integer is one also where it is too large for a float."""
    return isinstance(value, int) or isfinite(value)


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
