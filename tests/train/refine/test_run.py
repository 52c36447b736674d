"""Refining runs: what they leave, and how they go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmcot_cli.backends.engine_options import EngineOptions
from lmcot_cli.config import Config
from lmcot_cli.datasets.microhop import MicroHopOptions, records
from lmcot_cli.errors import InputError, ModelError, OutputError, UsageError
from lmcot_cli.interrupts import listening
from lmcot_cli.model_files.digests import weights_digest
from lmcot_cli.prompts.options import PromptOptions
from lmcot_train.lora import LoraOptions
from lmcot_train.models import add_adapter, open_base, open_run
from lmcot_train.ppo.options import PPOOptions
from lmcot_train.refine.options import Algorithm, RefineOptions, from_settings
from lmcot_train.refine.run import refine
from lmcot_train.rewards.options import RewardOptions
from lmcot_train.run_folder import RunFolder, RunRecord

PPO = PPOOptions(
    updates=3, batch=2, samples=2, max_tokens=8, minibatches=2, epochs=1, warm_up=0, policy_rate=1e-2,
    validate_every=2, save_every=1,
)  # fmt: skip
GRPO = replace(PPO, epochs=PPOOptions().epochs)  # it makes one


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = records(MicroHopOptions(rows=10, seed=3, split="train", max_hops=2, distractors=1))
    path.write_text("".join(json.dumps(record) + "\n" for record in rows))
    return path


@pytest.fixture
def distilled(tmp_path: Path, tiny_base: Callable[..., Path]) -> Callable[[str], Path]:
    """Write a finished run whose adapter says something."""

    def write(shape: str) -> Path:
        base, run = tiny_base(shape), tmp_path / f"distilled-{shape}"
        model, tokenizer = open_base(str(base))
        adapted = add_adapter(model, LoraOptions(rank=4, alpha=8))
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)
        run.mkdir()
        adapted.save_pretrained(run / "adapter")
        tokenizer.save_pretrained(run / "adapter")
        RunFolder(run).write(RunRecord("distill", str(base), weights_digest(base), {}, {}, {}, finished=True))
        return run

    return write


def options_for(questions: Path, start: Path, output: Path, **changes: Any) -> RefineOptions:
    options = RefineOptions(questions, start, output, ppo=PPO, held_out=2, engine=EngineOptions(threads=1))
    return replace(options, **changes)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def losses_of(run: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if not key.startswith(("minutes", "seconds"))}
        for record in lines_of(run / "metrics.jsonl")
    ]


@pytest.mark.parametrize("shape", ["llama", "t5"])
def test_a_run_leaves_an_adapter_for_the_same_base_and_all_that_was_seen(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path], shape: str
) -> None:
    start = distilled(shape)
    before = RunFolder(start).read()
    said: list[str] = []
    refined = refine(options_for(questions, start, tmp_path / "refined"), said.append)
    run = RunFolder(refined.folder)
    record = run.read_finished()
    assert (record.kind, record.parent, record.base) == ("refine", str(start), before.base)
    assert weights_digest(Path(record.base)) == before.base_digest
    assert record.results["updates"] == 3
    assert record.results["large_calls"] > 0
    assert [one["update"] for one in lines_of(run.metrics)] == [0, 1, 2, 3]
    samples = lines_of(run.samples)
    assert len(samples) == 3 * 2 * 2
    assert {"question", "gold", "rationale", "answer", "reward", "task", "aspects"} <= samples[0].keys()
    assert run.curves.read_bytes().startswith(b"\x89PNG")
    stacked = load_file(run.adapter / "adapter_model.safetensors")
    old = load_file(start / "adapter/adapter_model.safetensors")
    assert stacked.keys() == old.keys()
    assert {tensor.shape[0] for name, tensor in stacked.items() if "lora_A" in name} == {4 + 16}
    assert open_run(refined.folder).model is not None
    assert said[-1].startswith("update 3/3  reward ")


def test_what_is_left_is_what_the_best_validation_saw(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    """Without a validation the last weights are left: the adapter is the distilled one and the trained one."""
    start = distilled("llama")
    refine(options_for(questions, start, tmp_path / "refined", held_out=0), print)
    kept = load_file(tmp_path / "refined/checkpoints/update-000003/weights.safetensors")
    stacked = load_file(tmp_path / "refined/adapter/adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    fresh = kept[
        "model." + name.removeprefix("base_model.model.").replace("lora_A.weight", "lora_A.default.weight")
    ]
    assert torch.equal(stacked[name][4:], fresh)


def test_a_first_ctrl_c_keeps_the_update_and_the_run_goes_on_with_the_same_losses(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    refine(options_for(questions, start, tmp_path / "whole"), print)
    lines: list[str] = []

    def press(line: str) -> None:
        lines.append(line)
        if line.startswith("update 2"):
            os.kill(os.getpid(), signal.SIGINT)

    with listening(), pytest.raises(KeyboardInterrupt):
        refine(options_for(questions, start, tmp_path / "stopped"), press)
    went_on = refine(options_for(questions, start, tmp_path / "stopped"), print)

    assert lines[-1].startswith("interrupted; ")
    assert went_on.resumed == 2
    assert losses_of(tmp_path / "stopped") == losses_of(tmp_path / "whole")


def test_a_killed_run_goes_on_with_the_same_losses(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    refine(options_for(questions, start, tmp_path / "whole"), print)

    class KilledError(Exception):
        pass

    def kill_in_the_third_update(line: str) -> None:
        if line.startswith("update 3"):
            raise KilledError

    with pytest.raises(KilledError):
        refine(options_for(questions, start, tmp_path / "killed"), kill_in_the_third_update)
    assert not RunFolder(tmp_path / "killed").read().finished
    resumed = refine(options_for(questions, start, tmp_path / "killed"), print)
    assert resumed.resumed == 2
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")
    assert lines_of(tmp_path / "killed/samples.jsonl") == lines_of(tmp_path / "whole/samples.jsonl")
    ends = [load_file(tmp_path / run / "adapter/adapter_model.safetensors") for run in ("whole", "killed")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_finished_run_is_left_alone_unless_more_updates_are_asked_for(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    options = options_for(questions, distilled("llama"), tmp_path / "refined", held_out=0)
    refine(options, print)
    said: list[str] = []
    assert refine(options, said.append).resumed == 3
    assert said == []
    more = refine(replace(options, ppo=replace(PPO, updates=4)), said.append)
    assert (more.resumed, more.results["updates"]) == (3, 4)


def test_with_decay_more_updates_are_another_run(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    """The rates of every update follow from how many there are."""
    options = options_for(questions, distilled("llama"), tmp_path / "refined", held_out=0)
    refine(replace(options, ppo=replace(PPO, updates=1, decay=0.5)), print)
    with pytest.raises(OutputError, match="updates 1 -> 2"):
        refine(replace(options, ppo=replace(PPO, updates=2, decay=0.5)), print)


@pytest.mark.filterwarnings(
    "ignore:mtime may not be reliable"
)  # checkpoints within a second, as nowhere else
@pytest.mark.parametrize(
    ("algorithm", "cap", "ended_after"), [("ppo", 1, 0), ("ppo", 7, 1), ("ppo", 10, 2), ("grpo", 7, 1)]
)
def test_a_higher_cap_goes_on_as_if_there_had_been_none(
    tmp_path: Path,
    questions: Path,
    distilled: Callable[[str], Path],
    algorithm: Algorithm,
    cap: int,
    ended_after: int,
) -> None:
    """A validation takes 2 calls, an update 4: 7 are too few for the second update, 10 for the validation after it."""
    start, ppo = distilled("llama"), GRPO if algorithm == "grpo" else PPO
    options = options_for(questions, start, tmp_path / "capped", algorithm=algorithm, ppo=ppo)
    capped = replace(options, reward=RewardOptions(max_large_calls=cap))
    refine(replace(options, output=tmp_path / "whole"), print)
    assert refine(capped, print).results["updates"] == ended_after
    said: list[str] = []
    assert refine(capped, said.append).results["updates"] == ended_after
    assert said == []
    more = refine(replace(options, reward=RewardOptions(max_large_calls=100)), print)
    assert (more.results["updates"], more.results["stopped"]) == (3, None)
    assert losses_of(tmp_path / "capped") == losses_of(tmp_path / "whole")
    ends = [load_file(tmp_path / run / "adapter/adapter_model.safetensors") for run in ("whole", "capped")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_more_minutes_go_on(tmp_path: Path, questions: Path, distilled: Callable[[str], Path]) -> None:
    options = options_for(questions, distilled("llama"), tmp_path / "refined", held_out=0)
    short = replace(options, ppo=replace(PPO, minutes=1e-6))
    assert refine(short, print).results["updates"] == 1
    assert refine(options, print).results["updates"] == 3


def test_the_cap_on_calls_ends_a_run_that_keeps_what_it_learned(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    said: list[str] = []
    options = options_for(questions, distilled("llama"), tmp_path / "refined", held_out=0)
    refined = refine(replace(options, reward=RewardOptions(max_large_calls=5)), said.append)
    assert refined.results["updates"] == 1
    assert refined.results["large_calls"] <= 5
    assert said[-1].startswith("ended early: --max-large-calls 5")
    assert RunFolder(refined.folder).read_finished().adapter == "adapter"


def test_the_cap_may_be_reached_in_a_validation(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    said: list[str] = []
    options = options_for(questions, distilled("llama"), tmp_path / "refined")
    refined = refine(replace(options, reward=RewardOptions(max_large_calls=1)), said.append)
    assert (refined.results["updates"], refined.results["large_calls"]) == (0, 0)
    assert said[-1].startswith("ended early: --max-large-calls 1")


def test_all_weights_can_be_refined(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    ppo = replace(PPO, updates=1, policy_rate=1e-3)
    refined = refine(
        options_for(questions, start, tmp_path / "refined", full=True, ppo=ppo, held_out=0), print
    )
    assert RunFolder(refined.folder).read_finished().adapter is None
    old, new = (open_run(path).model for path in (start, refined.folder))
    weights = dict(old.merge_and_unload().named_parameters())  # type: ignore[operator]
    matrices = {name: p for name, p in new.named_parameters() if p.dim() == 2}
    assert len(matrices) > 10
    assert [name for name, p in matrices.items() if torch.equal(weights[name], p)] == []


def test_what_cannot_be_refined_is_said_in_one_line(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    with pytest.raises(UsageError, match="is the run to start from"):
        refine(options_for(questions, start, start), print)
    with pytest.raises(InputError, match="is no run of lmcot"):
        refine(options_for(questions, tmp_path / "nothing", tmp_path / "refined"), print)
    with pytest.raises(UsageError, match="--lora-rank 0"):
        refine(options_for(questions, start, tmp_path / "refined", lora_rank=0), print)
    options = options_for(questions, start, tmp_path / "refined", held_out=0, ppo=replace(PPO, updates=1))
    refine(options, print)
    with pytest.raises(OutputError, match=r"clip 0\.2 -> 0\.1"):
        refine(replace(options, ppo=replace(options.ppo, clip=0.1)), print)


def test_settings_fill_the_dataclasses_they_belong_to() -> None:
    given = {
        "updates": 7, "task_weight": 2.0, "threads": 1,
        "large": None, "lora_rank": 4, "quiet": True, "shots": 2, "shots_from": Path("f"),
    }  # fmt: skip
    own = {"questions": Path("q"), "start": Path("s"), "output": Path("o")}
    options = from_settings(given, Config(models={"name": "spec"}), **own)
    assert (options.ppo.updates, options.reward.task_weight, options.engine.threads) == (7, 2.0, 1)
    assert options.prompting == PromptOptions(shots=2, shots_from=Path("f"))
    assert (options.large, options.lora_rank, options.aliases) == ("builtin:large", 4, {"name": "spec"})


def test_both_models_are_asked_with_examples_and_their_system_message(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    folder = RunFolder(start)
    folder.write(replace(folder.read(), settings={"shots": 2, "small_system": "Reason."}))
    script = tmp_path / "large.jsonl"
    script.write_text('{"match": "", "text": "Oslo"}\n')
    prompting = PromptOptions(shots=1, shots_from=questions, small_system="Reason.", large_system="Answer.")
    options = options_for(
        questions,
        start,
        tmp_path / "refined",
        large=f"scripted:{script}",
        ppo=replace(PPO, updates=1),
        prompting=prompting,
    )
    said: list[str] = []
    settings = RunFolder(refine(options, said.append).folder).read_finished().settings
    asked = {name: settings[name] for name in ("shots", "shots_by", "small_system", "large_system")}
    assert asked == {"shots": 1, "shots_by": "first", "small_system": "Reason.", "large_system": "Answer."}
    assert str(settings["shots_digest"]).startswith("sha256:")
    assert any("was trained with other prompts (shots 2 -> 1);" in line for line in said)
    with pytest.raises(OutputError, match=r"large_system Answer\. -> null"):
        refine(replace(options, prompting=replace(prompting, large_system=None)), print)


@pytest.mark.filterwarnings(
    "ignore:mtime may not be reliable"
)  # checkpoints within a second, as nowhere else
def test_grpo_uses_the_same_rollouts_reward_and_validation(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    start = distilled("llama")
    options = options_for(questions, start, tmp_path / "refined", algorithm="grpo")
    options = replace(options, ppo=GRPO)
    short = replace(options, ppo=replace(options.ppo, updates=2))
    refine(short, print)
    assert [one["update"] for one in lines_of(tmp_path / "refined/metrics.jsonl")] == [0, 1, 2]
    samples = lines_of(tmp_path / "refined/samples.jsonl")
    assert [one["update"] for one in samples] == [1] * 4 + [2] * 4
    more = refine(options, print)
    assert (more.resumed, more.results["updates"]) == (2, 3)
    stacked = load_file(tmp_path / "refined/adapter/adapter_model.safetensors")
    assert {tensor.shape[0] for name, tensor in stacked.items() if "lora_A" in name} == {4 + 16}
    assert open_run(more.folder).model is not None


def test_grpo_refuses_an_encoder_decoder(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    options = options_for(questions, distilled("t5"), tmp_path / "refined", algorithm="grpo", ppo=GRPO)
    with pytest.raises(ModelError, match="use --algorithm ppo"):
        refine(options, print)


@pytest.mark.filterwarnings(
    "ignore:mtime may not be reliable"
)  # checkpoints within a second, as nowhere else
def test_grpo_learns_at_rates_that_fall(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    ppo = replace(GRPO, updates=2, decay=0.5)
    options = options_for(questions, distilled("llama"), tmp_path / "refined", algorithm="grpo", ppo=ppo)
    assert refine(options, print).results["updates"] == 2


def test_grpo_refuses_several_processes(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = options_for(questions, tmp_path / "start", tmp_path / "refined", algorithm="grpo", ppo=GRPO)
    with pytest.raises(UsageError, match="grpo runs in one process, and 2 were launched"):
        refine(options, print)


def test_a_run_does_not_go_on_from_another_parent(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    """The same folder, trained anew meanwhile: the adapter learned on top belongs to the weights before."""
    start = distilled("llama")
    options = options_for(questions, start, tmp_path / "refined", held_out=0, ppo=replace(PPO, updates=1))
    refine(options, print)
    weights = start / "adapter/adapter_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(OutputError, match=r"parent_digest sha256:\w+ -> sha256:\w+\): choose another -o"):
        refine(replace(options, ppo=PPO), print)


def test_tokens_that_leave_no_room_for_a_prompt_are_said_with_the_context(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    ppo = replace(PPO, max_tokens=100_000)
    with pytest.raises(UsageError, match=r"--max-tokens 100000: the model's context is \d+ tokens"):
        refine(options_for(questions, distilled("llama"), tmp_path / "refined", ppo=ppo), print)


def test_grpo_refuses_fewer_questions_than_a_batch(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    """TRL drops a batch that is not full: there would be none at all."""
    ppo = replace(GRPO, batch=9)
    options = options_for(questions, distilled("llama"), tmp_path / "refined", algorithm="grpo", ppo=ppo)
    with pytest.raises(UsageError, match="--batch 9: there are 8 questions to learn from"):
        refine(options, print)


@pytest.mark.filterwarnings(
    "ignore:mtime may not be reliable"
)  # checkpoints within a second, as nowhere else
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.safetensors"])
def test_grpo_does_what_a_damaged_checkpoint_held_again(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path], name: str
) -> None:
    ppo = replace(GRPO, updates=1)
    options = options_for(questions, distilled("llama"), tmp_path / "refined", algorithm="grpo", ppo=ppo)
    refine(options, print)
    file = tmp_path / "refined/checkpoints/checkpoint-1" / name
    file.write_bytes(file.read_bytes()[:100])
    assert refine(replace(options, ppo=GRPO), print).results["updates"] == GRPO.updates
    whole = [one["update"] for one in lines_of(tmp_path / "refined/metrics.jsonl")]
    assert whole == list(range(GRPO.updates + 1))


def test_a_run_whose_best_weights_were_removed_looks_for_others(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path]
) -> None:
    options = options_for(questions, distilled("llama"), tmp_path / "refined", ppo=replace(PPO, updates=1))
    refine(options, print)
    (tmp_path / "refined/checkpoints/best/weights.safetensors").unlink()
    assert refine(replace(options, ppo=PPO), print).results["best_update"] >= 2


def test_grpo_of_all_weights_is_held_to_the_distilled_model(
    tmp_path: Path, questions: Path, distilled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL would load the base that config.json names, which knows nothing of what the adapter had learned."""
    start, seen = distilled("llama"), []

    def look(trainer: Any, **_: Any) -> None:
        seen.append(trainer)

    monkeypatch.setattr("trl.GRPOTrainer.train", look)
    options = options_for(
        questions,
        start,
        tmp_path / "refined",
        algorithm="grpo",
        full=True,
        ppo=replace(GRPO, kl_coefficient=0.1),
    )
    refine(options, lambda line: None)
    expected, tokenizer = open_run(start)
    ids = torch.tensor([tokenizer("Where was the film shot?")["input_ids"]])
    with torch.no_grad():
        found = seen[0].ref_model(input_ids=ids).logits
        torch.testing.assert_close(found, expected(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    assert seen[0].beta == 0.1
