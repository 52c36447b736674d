"""Refine: open what is needed, train, and leave a run folder that others can start from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lmcot_cli.backends.base import Backend
from lmcot_cli.backends.specs import open_model
from lmcot_cli.datasets.row import Row
from lmcot_cli.errors import InputError, UsageError
from lmcot_cli.files import sha256_of
from lmcot_cli.model_files.digests import weights_digest
from lmcot_cli.pipeline.destinations import destinations
from lmcot_cli.pipeline.run_file import differing
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_train.curves import draw_curves
from lmcot_train.leaving import StopRequest, stopping_after_step
from lmcot_train.models import Report, silent
from lmcot_train.ppo.trainer import Trainer
from lmcot_train.prompting import RationalePrompts
from lmcot_train.refine.grpo import Note, check_grpo, progress_of, train_grpo
from lmcot_train.refine.log import PANELS, Log
from lmcot_train.refine.options import RefineOptions
from lmcot_train.refine.rows import fitting, read_answered, split
from lmcot_train.refine.start import Start, open_start
from lmcot_train.rewards.reward import RationaleReward, Reward, RolledOut
from lmcot_train.rollouts.batch import RolloutGroup
from lmcot_train.rollouts.best_weights import BestWeights
from lmcot_train.rollouts.judge import Judge, JudgedRationale, RefineTask, RewardFunction
from lmcot_train.rollouts.monitor import Monitor
from lmcot_train.rollouts.policy import Policy
from lmcot_train.rollouts.workers import Workers
from lmcot_train.run_folder import RunFolder, RunRecord, process_count

Train = Callable[[Note, StopRequest], None]
"""Trains to the end, notes every update, and stops after the current one on request."""

_REPLIES = "replies.jsonl"
_ASKED = ("prompts", "shots", "shots_by", "shots_digest", "small_system")
"""Settings that determine what the small LM is asked."""


@dataclass(frozen=True, slots=True)
class Refined:
    """A refined run: its folder, its figures as in the run file, and the updates that earlier sessions had made."""

    folder: Path
    results: dict[str, Any]
    resumed: int


def refine(options: RefineOptions, report: Report) -> Refined:
    """Refine the model of a run, and write another run; `report` takes lines for the user, in the first process.

    Raises:
        UsageError: Some settings cannot work.
        InputError: The rows, what prompts are made of, or the run to start from cannot be read.
        OutputError: The output cannot be written, or holds another run.
        ModelError: A model cannot be loaded or run.
    """
    options.check()
    _check_processes(options)
    torch.set_num_threads(options.engine.threads)
    workers = Workers.join()
    say = report if workers.first else silent
    prompts = PromptBuilder(options.prompting, ("guided_rationale", "guided_answer"))
    _tell_other_prompts(options, prompts, say)
    for line in destinations({"large": options.large}, options):
        say(line)
    rows = read_answered(options.questions, options.limit, say, options.rows)
    folder = RunFolder(options.output)
    with ExitStack() as stack:
        large = stack.enter_context(_open_large(options)) if workers.first else None
        opened = folder.opened(_record(options, prompts, large), overwrite=options.overwrite)
        writing = stack.enter_context(opened if workers.first else nullcontext(None))
        record = workers.from_first(writing)
        assert record is not None
        if record.finished and not _raised(record.results.get("limits", {}), options.limits()):
            return Refined(options.output, dict(record.results), record.results["updates"])
        start = open_start(options, _device(), say)
        return _Refinement(options, prompts, folder, record, start, large, workers, say).run(rows)


@dataclass(frozen=True, slots=True)
class _Refinement:
    """A session of a run, with everything open that it needs."""

    options: RefineOptions
    prompts: PromptBuilder
    folder: RunFolder
    record: RunRecord
    start: Start
    large: Backend | None
    workers: Workers
    say: Report

    def run(self, rows: Sequence[Row]) -> Refined:
        """Train, validate, and write what was learned."""
        judge = self._judge(rows)
        monitor, train = self._grpo(judge) if self.options.algorithm == "grpo" else self._ppo(judge)
        resumed = monitor.progress.update
        if resumed:
            self.say(f"continuing after update {resumed}")
        try:
            with stopping_after_step() as request:
                train(self._note(resumed), request)
        except KeyboardInterrupt:
            self.say("interrupted; the same command continues from the last checkpoint")
            raise
        if monitor.stopped:
            self.say(f"ended early: {monitor.stopped}")
        results = self._results(monitor)
        if self.workers.first:
            self._leave(monitor, results)
        return Refined(self.options.output, results, resumed)

    def _judge(self, rows: Sequence[Row]) -> Judge:
        ppo = self.options.ppo
        policy = Policy(self.start.model, ppo.temperature, bfloat16=torch.cuda.is_available())
        config = policy.network.model.config
        reader = RationalePrompts(
            self.start.tokenizer, encoder_decoder=config.is_encoder_decoder, prompts=self.prompts
        )
        room = getattr(config, "max_position_embeddings", None)
        most = room - ppo.max_tokens if room and not config.is_encoder_decoder else None
        if most is not None and most < 1:
            raise UsageError(
                f"--max-tokens {ppo.max_tokens}: the model's context is {room} tokens, the prompt included; give a"
                " lower number"
            )
        usable = fitting(rows, lambda row: len(reader.prompt(row)), most, self.say)
        learn, held_out = split(usable, self.options.held_out, ppo.seed)
        self._fit(policy, [tuple(reader.prompt(row)) for row in usable])
        task = RefineTask(learn, held_out, reader.prompt, reader, self._reward())
        return Judge(policy, task, ppo, self.workers)

    def _fit(self, policy: Policy, prompts: Sequence[tuple[int, ...]]) -> None:
        """Find out on the longest prompt how completions can be read: a window shows only beyond its length."""
        longest = max(prompts, key=len)
        if not policy.fit(RolloutGroup(longest, (longest[:5], longest[-7:]))):
            kind = policy.network.model.config.model_type
            self.say(f"{kind} models read a prompt anew for each of its rationales, which takes longer")

    def _reward(self) -> RewardFunction:
        if self.large is None:
            return _no_reward
        memory = self.folder.path / _REPLIES
        if not self.folder.metrics.exists():
            memory.unlink(missing_ok=True)  # of an earlier run
        return RationaleReward(replace(self.options.reward, memory=memory), self.large, self.prompts)

    def _ppo(self, judge: Judge) -> tuple[Monitor, Train]:
        trainer = Trainer(judge, self.folder.checkpoints)
        return trainer.monitor, partial(_train_ppo, trainer)

    def _grpo(self, judge: Judge) -> tuple[Monitor, Train]:
        check_grpo(judge)
        folder = self.folder.checkpoints
        progress = progress_of(folder, self.folder.metrics, judge.options.kl_coefficient)
        monitor = Monitor(judge, progress, BestWeights(folder))
        return monitor, partial(train_grpo, monitor, self.start.model, self.start.tokenizer, folder)

    def _note(self, resumed: int) -> Note:
        """Return a function that logs an update and reports it, in the first process."""
        log = Log(self.folder, resumed) if self.workers.first else None

        def note(figures: Mapping[str, float], judged: Sequence[JudgedRationale]) -> None:
            if log:
                log.write(figures, judged)
                self.say(progress_line(figures, self.options.ppo.updates))

        return note

    def _results(self, monitor: Monitor) -> dict[str, Any]:
        reward, progress = monitor.judge.task.reward, monitor.progress
        answers = reward.answers if isinstance(reward, RationaleReward) else None
        return {
            "updates": progress.update,
            "limits": self.options.limits(),
            "stopped": monitor.stopped,
            "minutes": round(progress.seconds / 60, 2),
            "best_update": progress.best_update if progress.best is not None else progress.update,
            "validation_reward": progress.best,
            "large_calls": answers.calls if answers else None,
            "large_refused": answers.refused if answers else None,
        }

    def _leave(self, monitor: Monitor, results: dict[str, Any]) -> None:
        """Write the weights that validated best and the picture, and mark the run as finished."""
        if monitor.best:
            monitor.best.load(monitor.judge.policy)
        self.start.save(self.folder.adapter, self.folder.model)
        draw_curves(self.folder.metrics, self.folder.curves, PANELS)
        adapter = self.folder.adapter.name if self.start.leaves_adapter else None
        self.folder.finish(replace(self.record, adapter=adapter), results)


def _train_ppo(trainer: Trainer, note: Note, request: StopRequest) -> None:
    for figures, judged in trainer.run():
        note(figures, judged)
        if request.asked:
            trainer.save()
            request.obey()


def _no_reward(items: Sequence[RolledOut]) -> list[Reward]:
    """Stand for the reward in all processes but the first, which asks for all."""
    raise RuntimeError("only the first process asks the large LM")


def progress_line(figures: Mapping[str, float], updates: int) -> str:
    """Return the figures of an update as a line for the user."""
    parts = [f"update {figures['update']:.0f}/{updates}"]
    shown = {
        "reward": "reward {:.3f}",
        "task": "right {:.2f}",
        "kl": "KL {:z.2f}",
        "entropy": "entropy {:.2f}",
        "clip_fraction": "clipped {:.2f}",
        "tokens": "tokens {:.0f}",
        "minutes": "{:.1f} min",
        "validation_reward": "held out: reward {:.3f}",
        "validation_task": "right {:.3f}",
    }
    parts += [form.format(figures[name]) for name, form in shown.items() if name in figures]
    return "  ".join(parts)


def _check_processes(options: RefineOptions) -> None:
    if options.algorithm == "grpo" and process_count() > 1:
        raise UsageError(
            f"--algorithm grpo runs in one process, and {process_count()} were launched: start it without accelerate,"
            " or take --algorithm ppo"
        )


def _tell_other_prompts(options: RefineOptions, prompts: PromptBuilder, say: Report) -> None:
    """Report if the model to start from was trained with other prompts."""
    learned, asked = RunFolder(options.start).read_finished().settings, prompts.settings()
    of_both = {name: asked[name] for name in _ASKED if name in learned}
    if differences := differing(learned, of_both):
        say(
            f"{options.start}: was trained with other prompts ({'; '.join(differences)}); it does best with those it"
            " has learned: give the same options here"
        )


def _raised(before: Mapping[str, float | None], now: Mapping[str, float | None]) -> bool:
    """Whether one of the limits of a finished run is higher now, or gone."""
    pairs = ((limit, now[name]) for name, limit in before.items())
    return any(old is not None and (new is None or new > old) for old, new in pairs)


def _open_large(options: RefineOptions) -> Backend:
    return open_model(
        options.large,
        role="large",
        aliases=options.aliases,
        options=options.engine,
        endpoint=options.endpoint,
    )


def _record(options: RefineOptions, prompts: PromptBuilder, large: Backend | None) -> RunRecord:
    """Return the record of the new run; raise an InputError if there is no finished run to start from."""
    parent = RunFolder(options.start).read_finished()
    identity = large.identity if large else None
    learned = RunFolder(options.start).model if parent.adapter is None else options.start / parent.adapter
    asked = {
        "large": identity.spec if identity else None,
        "large_digest": identity.digest if identity else None,
        **prompts.settings(),
        "parent_digest": _digest(weights_digest, learned),  # changes if the run is made anew
    }
    return RunRecord(
        kind="refine",
        base=parent.base,
        base_digest=parent.base_digest,
        base_settings_digest=parent.base_settings_digest,
        settings={**options.settings(), **asked},
        seeds={"refine": options.ppo.seed},
        data={options.questions.name: _digest(sha256_of, options.questions)},
        adapter=None if options.full else parent.adapter,
        parent=str(options.start.resolve()),
    )


def _digest(digest: Callable[[Path], str], path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
