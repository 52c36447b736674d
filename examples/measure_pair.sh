#!/usr/bin/env bash
# The score table of the embedded pair: every way of answering 1,000 MicroHop questions with names never trained on.
# Run as `make measure`, or where lmcot is installed: bash examples/measure_pair.sh [OUTPUT FOLDER]
# The base and the distilled model that examples/train_pair.sh made are measured as well if they are in runs/pair
# (PAIR=FOLDER names another place). An interrupted run continues where it stopped.
set -euo pipefail
lmcot=${BIN:+$BIN/}lmcot
python=${BIN:+$BIN/}python
pair=${PAIR:-runs/pair}
examples=$(dirname "${BASH_SOURCE[0]}")
out=${1:-runs/measure}
mkdir -p "$out"

answer() { # NAME [OPTION...]: answer the questions into NAME.jsonl
  "$lmcot" answer "$out/questions.jsonl" -o "$out/$1.jsonl" "${@:2}"
}

[ -e "$out/questions.jsonl" ] || "$lmcot" data synth --rows 1000 --seed 2026 --split test -o "$out/questions.jsonl"
answer standard --method standard
answer cot --method cot
answer gold --given-rationales
for way in base distilled; do
  [ ! -e "$pair/$way.gguf" ] || answer "$way" --small "$pair/$way.gguf"
done
answer guided
answer guided5 --samples 5
"$python" "$examples/shuffle_rationales.py" "$out/questions.jsonl" "$out/guided.jsonl" > "$out/shuffled_questions.jsonl"
"$lmcot" answer "$out/shuffled_questions.jsonl" --given-rationales -o "$out/shuffled.jsonl"
"$python" "$examples/pair_table.py" "$out" | tee "$out/table.md"
