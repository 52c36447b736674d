#!/usr/bin/env bash
# The score table of the embedded pair: every way of answering 1,000 MicroHop questions with names never trained on.
# Run as `make measure`, or where lmcot is installed: bash examples/measure_pair.sh [OUTPUT FOLDER]
# The base and the distilled LM of examples/train_pair.sh are not embedded: `make pretrain` leaves them in runs/pair
# (PAIR=FOLDER names another place); where they are missing, so are their rows. A run that was interrupted goes on where it stopped.
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
for way in base distilled distilled5; do
  model=$pair/${way%5}.gguf
  if [ ! -e "$model" ]; then
    echo "note: there is no $model: the table will be without $way" >&2
  elif [ "$way" = distilled5 ]; then
    answer distilled5 --small "$model" --samples 5
  else
    answer "$way" --small "$model"
  fi
done
answer guided
answer guided5 --samples 5
"$python" "$examples/shuffle_rationales.py" "$out/questions.jsonl" "$out/guided.jsonl" > "$out/shuffled_questions.jsonl"
"$lmcot" answer "$out/shuffled_questions.jsonl" --given-rationales -o "$out/shuffled.jsonl"
"$python" "$examples/pair_table.py" "$out" | tee "$out/table.md"
