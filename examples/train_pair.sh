#!/usr/bin/env bash
# A small LM made by the whole pipeline, from nothing: a base that never saw a rationale, what builtin:large says of
# 6,000 questions, distillation from what is right of it, and PPO with builtin:large as the judge. Hours on one core.
# The embedded builtin:small was not made so: it was pretrained on MicroHop's own rationales (its card says how).
# Run where lmcot is installed with its train and export extras: bash examples/train_pair.sh [FOLDER]
# Leaves base.gguf, distilled.gguf and refined.gguf in runs/pair (or the folder named); a run that was interrupted goes on.
set -euo pipefail
lmcot=${BIN:+$BIN/}lmcot
large=${LARGE:-builtin:large}
out=${1:-runs/pair}
mkdir -p "$out"

gguf() { # FOLDER NAME: export a model or run as NAME.gguf
  [ -e "$out/$2.gguf" ] && return
  "$lmcot" export "$1" --quantize q8_0 -o "$out/export-$2"
  cp "$out/export-$2"/*.q8_0.gguf "$out/$2.gguf"
}

[ -e "$out/base/model.gguf" ] || "$lmcot" train pretrain base -o "$out/base" --minutes 45
gguf "$out/base" base
if [ ! -e "$out/questions.jsonl" ]; then # half of the usual difficulty; half with fewer distractors, where the teacher errs less
  "$lmcot" data synth --split train --rows 3000 --seed 401 -o "$out/hard.jsonl"
  "$lmcot" data synth --split train --rows 3000 --seed 402 --distractors 2 -o "$out/easy.jsonl"
  cat "$out/hard.jsonl" "$out/easy.jsonl" > "$out/questions.jsonl"
fi
"$lmcot" train rationales "$out/questions.jsonl" --large "$large" -o "$out/rationales.jsonl"
"$lmcot" train distill "$out/rationales.jsonl" --base "$out/base" -o "$out/distilled"
gguf "$out/distilled" distilled
"$lmcot" train refine "$out/questions.jsonl" --from "$out/distilled" --large "$large" --learning-rate 1e-3 -o "$out/refined"
gguf "$out/refined" refined
