#!/usr/bin/env bash
# Make builtin:small from nothing by the whole pipeline: a base that has never seen a rationale; the chains of builtin:large
# for 13,614 questions, of which it reads the supporting paragraphs only; distillation from those that are right and that
# it was surest of; and PPO with builtin:large as the judge. This takes about three hours on two cores.
# Run it as `make pair`, or in the root of the repository, with lmcot and its extras train and export installed:
# bash examples/train_pair.sh [FOLDER]
# It leaves base.gguf, distilled.gguf and refined.gguf in runs/pair (or FOLDER); run it again to continue after an interruption.
set -euo pipefail
lmcot=${BIN:+$BIN/}lmcot
python=${BIN:+$BIN/}python
large=${LARGE:-builtin:large}
out=${1:-runs/pair}
mkdir -p "$out"

questions() { # NAME [OPTION...]: MicroHop questions of the training split
  [ -e "$out/$1.jsonl" ] || "$lmcot" data synth --split train -o "$out/$1.jsonl" "${@:2}"
}

gguf() { # FOLDER NAME: export a model or run as NAME.gguf
  [ -e "$out/$2.gguf" ] && return
  "$lmcot" export "$1" --quantize q8_0 -o "$out/export-$2"
  cp "$out/export-$2"/*.q8_0.gguf "$out/.$2.part"
  mv "$out/.$2.part" "$out/$2.gguf"
}

[ -e "$out/base/model.gguf" ] || "$python" -m tools.pretrain base -o "$out/base" --minutes 45
gguf "$out/base" base

# Few chains of comparisons are right, so there are more comparisons than MicroHop draws.
questions hard --rows 7000 --seed 501
questions easy --rows 3900 --seed 502 --distractors 2
questions drawn --rows 12000 --seed 505 --distractors 2
grep 'comparison"' "$out/drawn.jsonl" > "$out/comparisons.jsonl"
cat "$out/hard.jsonl" "$out/easy.jsonl" "$out/comparisons.jsonl" > "$out/questions.jsonl"
"$lmcot" train rationales "$out/questions.jsonl" --large "$large" --context supporting --samples 2 \
  --keep-surest 0.6 --max-words 80 -o "$out/rationales.jsonl"

"$lmcot" train distill "$out/rationales.jsonl" --base "$out/base" -o "$out/lora" --lora-rank 64 --lora-alpha 64 \
  --lora-dropout 0 --learning-rate 2e-3 --epochs 3 --validation-share 0.03 --precision bfloat16
# LoRA leaves embeddings as they are, and the base has never seen some words of rationales ("not", "so", "later"): an adapter
# can only make them the likeliest of very unlikely words. An epoch on all weights corrects that.
"$lmcot" export "$out/lora" --quantize q8_0 --no-verify -o "$out/export-lora"
"$lmcot" train distill "$out/rationales.jsonl" --base "$out/export-lora/merged" -o "$out/distilled" --full \
  --learning-rate 1e-3 --epochs 1 --validation-share 0.03 --precision bfloat16
gguf "$out/distilled" distilled

# Each reward is compared with those of the question's other samples, and reaches every token of its rationale in full: a
# value head of this size does not learn in an hour how hard a question is. As the rate falls, noise averages out.
questions refine_hard --rows 16000 --seed 507
questions refine_easy --rows 8000 --seed 508 --distractors 3
cat "$out/refine_hard.jsonl" "$out/refine_easy.jsonl" > "$out/refine.jsonl"
"$lmcot" train refine "$out/refine.jsonl" --from "$out/distilled" --large "$large" --batch 16 --samples 8 --epochs 1 \
  --minibatches 2 --leave-one-out --gae-lambda 1 --value-weight 0 --learning-rate 4e-4 --value-rate 3e-3 --decay 1 \
  --aspects-weight 3 --kl-target 6 --max-tokens 96 --held-out 400 --validate-every 40 --updates 560 -o "$out/refined"
gguf "$out/refined" refined
