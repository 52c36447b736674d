#!/usr/bin/env bash
# A small LM by the whole pipeline, from nothing: a base without rationales, what the large LM says of 6,000 questions,
# distillation from what is right of it, and PPO with the large LM as the judge. The embedded builtin:small was NOT made
# so: tried up to the first updates of PPO, this stayed far behind it (lmcot_cli/models/CARD.md has the figures).
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
if [ ! -e "$out/questions.jsonl" ]; then # half of it with fewer distractors, where the large LM errs less
  "$lmcot" data synth --split train --rows 3000 --seed 401 -o "$out/hard.jsonl"
  "$lmcot" data synth --split train --rows 3000 --seed 402 --distractors 2 -o "$out/easy.jsonl"
  cat "$out/hard.jsonl" "$out/easy.jsonl" > "$out/questions.jsonl"
fi
"$lmcot" train rationales "$out/questions.jsonl" --large "$large" --samples 4 --min-logprob -0.07 \
  -o "$out/rationales.jsonl"
"$lmcot" train distill "$out/rationales.jsonl" --base "$out/base" -o "$out/distilled" --lora-rank 64 --lora-alpha 64 \
  --lora-dropout 0 --learning-rate 2e-3 --epochs 3 --validation-share 0.05 --evaluations 1 --precision bfloat16
gguf "$out/distilled" distilled
"$lmcot" train refine "$out/questions.jsonl" --from "$out/distilled" --large "$large" -o "$out/refined" \
  --minutes 11 --learning-rate 1e-3 --max-tokens 96 --validate-every 6
gguf "$out/refined" small
