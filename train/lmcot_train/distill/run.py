"""Distil: read, open, train, save; a killed run continues from its last checkpoint."""

from __future__ import annotations

import errno
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from safetensors import SafetensorError
from transformers import Trainer, set_seed

from lmcot_cli.errors import InputError
from lmcot_cli.files import sha256_of
from lmcot_cli.model_files.digests import weights_digest
from lmcot_cli.prompts.conversation import PromptBuilder
from lmcot_train.curves import draw_curves
from lmcot_train.distill.data import read_rationales, split, tokenize
from lmcot_train.distill.endings import share_ended, warning
from lmcot_train.distill.options import DistillOptions
from lmcot_train.distill.trainers import (
    LESS,
    MetricsLog,
    Splits,
    arguments,
    build_trainer,
    computes_in_bfloat16,
    on_cuda,
)
from lmcot_train.leaving import StopAfterStep, stopping_after_step
from lmcot_train.models import (
    Opened,
    Report,
    add_adapter,
    base_settings_digest,
    check_finite,
    is_encoder_decoder,
    locate_base,
    open_base,
    silent,
)
from lmcot_train.plain_state import checkpoint_to_resume, last_checkpoint, remove_torn_checkpoints
from lmcot_train.prompting import RationalePrompts, save_tokenizer
from lmcot_train.run_folder import RunFolder, RunRecord, cannot_write, is_first_process, process_count

_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
_TORN_WRITES = ("I/O error", "iostream error", "unexpected pos", "PytorchStreamWriter")
"""How safetensors and torch.save report that a file could not be written, without a reason."""
PANELS = {"loss per token": ("loss", "validation_loss"), "learning rate": ("learning_rate",)}


def distill(
    rationales: Path,
    base: str,
    output: Path,
    options: DistillOptions,
    report: Report,
    *,
    overwrite: bool = False,
) -> RunRecord:
    """Train a base model on rationales, or continue a run that does; return the record of the finished run.

    Args:
        rationales: File of rows with a rationale.
        base: Folder or hub id of the model to train.
        output: The run folder.
        options: How to train.
        report: Takes lines for the user.
        overwrite: Start the run anew.

    Raises:
        UsageError: An option is out of its range.
        InputError: The rationales, or what prompts are made of, cannot be read, or no rationale is usable.
        ModelError: The base cannot be found or loaded, or its weights became infinite or NaN.
        OutputError: The run folder cannot be written or holds another run.
    """
    options.check(process_count())
    _quieten()
    report = report if is_first_process() else silent
    if options.threads:
        torch.set_num_threads(options.threads)
    prompts = PromptBuilder(options.prompting, ("guided_rationale",))
    rows = read_rationales(rationales)
    opened = _open(base, options, report)
    splits = _splits(rows, opened, prompts, options, report)
    run = RunFolder(output)
    made = arguments(options, run, splits, encoder=is_encoder_decoder(opened.model))
    record = _record(rationales, base, prompts, options)
    with _first_process_opens(run, record, overwrite=overwrite) as record:
        if record.finished:
            report(f"{output}: is finished already; --overwrite trains it anew")
            return record
        trainer = build_trainer(opened, splits, made, options, [MetricsLog(run, report)])
        return _train(trainer, run, record, report)


def _open(base: str, options: DistillOptions, report: Report) -> Opened:
    set_seed(options.seed)
    if options.full:
        return open_base(base, report=report)
    dtype = torch.bfloat16 if on_cuda() and computes_in_bfloat16(options) else torch.float32
    model, tokenizer = open_base(base, dtype=dtype, report=report)
    adapted = add_adapter(model, options.lora)
    trainable, total = adapted.get_nb_trainable_parameters()
    report(f"{base}: {total:,} weights, of which {trainable:,} in the adapter are trained")
    return Opened(adapted, tokenizer)


def _splits(
    rows: list[Any], opened: Opened, prompts: PromptBuilder, options: DistillOptions, report: Report
) -> Splits:
    encoder = is_encoder_decoder(opened.model)
    reader = RationalePrompts(opened.tokenizer, encoder_decoder=encoder, prompts=prompts)
    most = options.max_tokens or getattr(opened.model.config, "max_position_embeddings", None)
    parts = split(rows, options.validation_share, options.seed)
    tokenized = [tokenize(part, reader, most, encoder=encoder) for part in parts]
    (train, long_train), (validation, long_validation) = tokenized
    if long := long_train + long_validation:
        report(f"{long} of {len(rows)} rows take more than {most} tokens and are left out")
    if not len(train):
        raise InputError(f"no row is left to learn from: all take more than {most} tokens; see --max-tokens")
    report(f"{len(train)} rows to learn from, {len(validation)} to validate on")
    return Splits(train, validation if len(validation) else None)


def _record(rationales: Path, base: str, prompts: PromptBuilder, options: DistillOptions) -> RunRecord:
    folder = locate_base(base)
    return RunRecord(
        kind="distill",
        base=str(Path(base).resolve()) if Path(base).exists() else base,
        base_digest=weights_digest(folder),
        base_settings_digest=base_settings_digest(base, folder),
        settings=options.settings() | prompts.settings(),
        seeds={"distill": options.seed},
        data={rationales.name: sha256_of(rationales)},
        adapter=None if options.full else "adapter",
    )


@contextmanager
def _first_process_opens(run: RunFolder, record: RunRecord, *, overwrite: bool) -> Iterator[RunRecord]:
    """Open the run folder in the first process; the others read it then."""
    state = PartialState()
    with ExitStack() as stack:
        if state.is_main_process:
            record = stack.enter_context(run.opened(record, overwrite=overwrite))
            remove_torn_checkpoints(run.checkpoints)
        state.wait_for_everyone()
        yield record if state.is_main_process else run.read()


def _train(trainer: Trainer, run: RunFolder, record: RunRecord, report: Report) -> RunRecord:
    checkpoint = checkpoint_to_resume(run.checkpoints)
    if checkpoint:
        report(f"continuing from {checkpoint}")
    started, results = time.monotonic(), dict[str, Any]()
    with _endings_explained(run, report):
        with stopping_after_step() as request:
            trainer.add_callback(StopAfterStep(request))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            request.obey()
        learned = trainer.accelerator.unwrap_model(trainer.model)
        check_finite(learned, f"{run.path}: learned nothing useful: {LESS}")
        if trainer.is_world_process_zero():
            results["rationales_ended"] = _ended(learned, trainer, record, report)
            folder = run.adapter if record.adapter else run.model
            learned.save_pretrained(folder)
            save_tokenizer(trainer.processing_class, folder, learned)
    if trainer.is_world_process_zero():
        draw_curves(run.metrics, run.curves, PANELS)
        run.finish(record, _results(trainer, time.monotonic() - started) | results)
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return run.read()


def _ended(model: Any, trainer: Trainer, record: RunRecord, report: Report) -> float:
    """Return the share of rationales that the model ends, and warn if it is low."""
    data = trainer.eval_dataset or trainer.train_dataset
    share = share_ended(model, data)
    end = trainer.processing_class.convert_ids_to_tokens(int(data[0]["labels"][-1]))
    if line := warning(share, end, full=record.adapter is None):
        report(line)
    return share


def _results(trainer: Trainer, seconds: float) -> dict[str, Any]:
    state = trainer.state
    last = next((entry["loss"] for entry in reversed(state.log_history) if "loss" in entry), None)
    results = {"steps": state.global_step, "loss": last, "seconds_of_last_session": round(seconds, 1)}
    if state.best_metric is not None:
        results |= {"best_validation_loss": state.best_metric, "best_step": state.best_global_step}
    if on_cuda():
        results["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return results


@contextmanager
def _endings_explained(run: RunFolder, report: Report) -> Iterator[None]:
    """Report in one line that the disk is full, whichever library finds out, and what Ctrl-C leaves."""
    try:
        yield
    except KeyboardInterrupt:
        kept = last_checkpoint(run.checkpoints)
        report(
            f"interrupted; the same command continues from {kept}"
            if kept
            else "interrupted before a checkpoint"
        )
        raise
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        raise cannot_write(run.path, error) from error
    except (SafetensorError, RuntimeError) as error:
        if not any(sign in str(error) for sign in _TORN_WRITES):
            raise
        reason = OSError(f"{str(error).splitlines()[0]} (is the disk full?)")
        raise cannot_write(run.path, reason) from error


def _quieten() -> None:
    """Keep the libraries' notes off the terminal: we report what matters."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(torch|transformers|trl|peft|accelerate)")
