#!/usr/bin/env bash
# The score table of the embedded pair: five ways of answering 1,000 MicroHop questions with names never trained on.
# Run as `make measure`, or where lmcot is installed: bash examples/measure_pair.sh
set -euo pipefail
lmcot=${BIN:+$BIN/}lmcot
out=${1:-runs/measure}
mkdir -p "$out"

"$lmcot" data synth --rows 1000 --seed 2026 --split test -o "$out/questions.jsonl"
"$lmcot" answer "$out/questions.jsonl" --method standard -o "$out/standard.jsonl"
"$lmcot" answer "$out/questions.jsonl" --method cot -o "$out/cot.jsonl"
"$lmcot" answer "$out/questions.jsonl" --method guided -o "$out/guided.jsonl"
"$lmcot" answer "$out/questions.jsonl" --method guided --samples 5 -o "$out/guided5.jsonl"
"$lmcot" answer "$out/questions.jsonl" --method guided --given-rationales -o "$out/gold.jsonl"
for name in standard cot guided guided5 gold; do
  "$lmcot" eval "$out/$name.jsonl"
done
"$lmcot" compare "$out/standard.jsonl" "$out/guided.jsonl" --show 0
"$lmcot" compare "$out/cot.jsonl" "$out/guided.jsonl" --show 0
"$lmcot" compare "$out/guided.jsonl" "$out/guided5.jsonl" --show 0
