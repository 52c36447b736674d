"""Learn from one batch of experience: epochs of minibatches, clipped losses, one optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmcot_cli.pipeline.seeds import sample_seed
from lmcot_train.ppo.experience import Experience
from lmcot_train.ppo.losses import clipped_policy_loss, clipped_value_loss, outside_clip
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.rollouts.batch import collate, passes
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.token_math import k3
from lmcot_train.rollouts.workers import Workers

_FIGURES = ("policy_loss", "value_loss", "learned_entropy", "clip_fraction", "step_kl")


def rate_share(update: int, options: PPOOptions) -> float:
    """Return an update's share of the full learning rates: a line up, a level, a line down to nearly zero."""
    rise = (update + 1) / (options.warm_up + 1)
    fall = (options.updates - update) / (options.decay * options.updates + 1)
    return min(1.0, rise, fall) if options.decay else min(1.0, rise)


@dataclass(frozen=True, slots=True)
class Learner:
    """The policy's optimizer, which has a group for the language model and one for the value head, and its use."""

    policy: Policy
    options: PPOOptions
    optimizer: torch.optim.Optimizer
    workers: Workers

    @classmethod
    def create(cls, policy: Policy, options: PPOOptions, workers: Workers) -> Learner:
        """Make a learner with a new optimizer: Adam without weight decay, with an epsilon of 1e-5 as is usual for PPO.

        Raises:
            ValueError: All weights of the language model are frozen.
        """
        if not policy.weights:
            raise ValueError("nothing learns: all weights of the policy are frozen")
        groups = [
            {"params": list(policy.weights.values()), "lr": options.policy_rate},
            {"params": list(policy.value_head.parameters()), "lr": options.value_rate},
        ]
        return cls(policy, options, torch.optim.Adam(groups, eps=1e-5), workers)

    def learn(self, experience: Experience, update: int) -> dict[str, float]:
        """Make up to `epochs` passes over the experience; return the mean figures of their minibatches."""
        self._set_rates(update)
        seen: list[Tensor] = []
        norms: list[float] = []
        for epoch in range(self.options.epochs):
            first = len(seen)
            for minibatch in self._minibatches(len(experience.groups), update, epoch):
                seen.append(self._accumulate(experience, minibatch))
                norms.append(self._step())
            if torch.stack(seen[first:])[:, _FIGURES.index("step_kl")].mean() > self.options.epoch_kl:
                break
        means = dict(zip(_FIGURES, torch.stack(seen).mean(0).tolist(), strict=True))
        return {**means, "gradient_norm": sum(norms) / len(norms), "epochs": float(epoch + 1)}

    def _set_rates(self, update: int) -> None:
        peaks = (self.options.policy_rate, self.options.value_rate)
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_share(update, self.options)

    def _minibatches(self, groups: int, update: int, epoch: int) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(sample_seed(self.options.seed, f"order {update}", epoch))
        order = torch.randperm(groups, generator=generator)
        for part in order.tensor_split(min(self.options.minibatches, groups)):
            yield part.tolist()

    def _accumulate(self, experience: Experience, minibatch: list[int]) -> Tensor:
        """Sum the gradients of a minibatch, in passes that fit in memory; return its figures."""
        self.optimizer.zero_grad()
        total = experience.mask[minibatch].sum()
        own, options = self.workers.share(minibatch), self.options
        figures = torch.zeros(len(_FIGURES))
        for indices in passes(own, lambda i: experience.groups[i].cost, options.tokens_per_pass):
            sums = self._sums(experience, [own[index] for index in indices])
            loss = sums[0] + options.value_weight * sums[1] - options.entropy_weight * sums[2]
            (loss / total).backward()  # type: ignore[no-untyped-call]
            figures += (sums.detach() / total).cpu()
        return self.workers.sum(figures)

    def _sums(self, experience: Experience, chosen: list[int]) -> Tensor:
        """Return the sums of `_FIGURES` over the tokens of some groups of the experience."""
        options, device = self.options, self.policy.network.device
        batch = collate([experience.groups[i] for i in chosen], self.policy.network.side, device)
        tokens = batch.mask.shape[-1]
        old, old_values, advantages, returns = (
            tensor[chosen, :, :tokens].to(device)
            for tensor in (experience.logprobs, experience.values, experience.advantages, experience.returns)
        )
        now = self.policy(batch, entropy_gradient=options.entropy_weight > 0)
        per_token = (
            clipped_policy_loss(now.logprobs, old, advantages, options.clip),
            clipped_value_loss(now.values, old_values, returns, options.value_clip),
            now.entropies,
            outside_clip(now.logprobs, old, options.clip),
            k3(old, now.logprobs),
        )
        return torch.stack([torch.where(batch.mask, tensor, 0.0).sum() for tensor in per_token])

    def _step(self) -> float:
        """Make one optimizer step; return the norm of the gradient before it was clipped."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.workers.sum_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.options.max_grad_norm)
        self.optimizer.step()
        return float(norm)
