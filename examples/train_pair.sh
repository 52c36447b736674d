#!/usr/bin/env bash
# builtin:small, made by the whole pipeline from nothing: a base that never saw a rationale, what builtin:large says of
# 13,614 questions when it reads their supporting paragraphs alone, distillation from what is right of it and sure, and PPO
# with builtin:large as the judge. About two hours of two cores.
# Run as `make pair`, or where lmcot is installed with its train and export extras: bash examples/train_pair.sh [FOLDER]
# Leaves base.gguf, distilled.gguf and refined.gguf in runs/pair (or the folder named); a run that was interrupted goes on.
set -euo pipefail
lmcot=${BIN:+$BIN/}lmcot
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

[ -e "$out/base/model.gguf" ] || "$lmcot" train pretrain base -o "$out/base" --minutes 45
gguf "$out/base" base

# Comparisons are hard to come by: few chains of them are right. So there are more of them than MicroHop draws.
questions hard --rows 7000 --seed 501
questions easy --rows 3900 --seed 502 --distractors 2
questions drawn --rows 12000 --seed 505 --distractors 2
grep 'comparison"' "$out/drawn.jsonl" > "$out/comparisons.jsonl"
cat "$out/hard.jsonl" "$out/easy.jsonl" "$out/comparisons.jsonl" > "$out/questions.jsonl"
"$lmcot" train rationales "$out/questions.jsonl" --large "$large" --context supporting --samples 2 \
  --keep-surest 0.6 --max-words 80 -o "$out/rationales.jsonl"

"$lmcot" train distill "$out/rationales.jsonl" --base "$out/base" -o "$out/lora" --lora-rank 64 --lora-alpha 64 \
  --lora-dropout 0 --learning-rate 2e-3 --epochs 3 --validation-share 0.03 --precision bfloat16
# LoRA leaves embeddings as they are, and some words of rationales ("not", "so", "later") the base has never seen: it can
# only make them the likeliest of very unlikely ones. An epoch on all weights puts that right.
"$lmcot" export "$out/lora" --quantize q8_0 --no-verify -o "$out/export-lora"
"$lmcot" train distill "$out/rationales.jsonl" --base "$out/export-lora/merged" -o "$out/distilled" --full \
  --learning-rate 1e-3 --epochs 1 --validation-share 0.03 --precision bfloat16
gguf "$out/distilled" distilled

questions refine --rows 6000 --seed 503 --distractors 3
"$lmcot" train refine "$out/refine.jsonl" --from "$out/distilled" --large "$large" --batch 16 --samples 8 \
  --leave-one-out --learning-rate 3e-4 --value-rate 3e-3 --aspects-weight 1 --kl-target 6 --max-tokens 96 \
  --held-out 200 --validate-every 20 --updates 1000 --minutes 9 -o "$out/refined"
gguf "$out/refined" refined
