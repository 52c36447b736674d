#!/usr/bin/env bash
# How builtin:small was made, from nothing: a base without rationales, what builtin:large says of 6,000 questions,
# distillation from what is right of it, and PPO with builtin:large as the judge.
# Run as `make pretrain`, or where lmcot is installed with its train and export extras: bash examples/train_pair.sh
# Leaves base.gguf, distilled.gguf and small.gguf in runs/pair (or the folder named); a run that was interrupted goes on.
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
"$lmcot" train refine "$out/questions.jsonl" --from "$out/distilled" --large "$large" -o "$out/refined"
gguf "$out/refined" small
