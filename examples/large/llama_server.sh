#!/usr/bin/env bash
# A server on this machine: llama_cpp.server, with the file of the embedded large LM, so that no other is needed.
# It comes with: pip install 'llama-cpp-python[server]'. PORT=8080 is the default; 0 takes one that is free.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
python -m llama_cpp.server --model ../lmcot_cli/models/large.gguf --model_alias large --n_ctx 1024 \
  --port "${PORT:-8080}" >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; rm -f "$log"' EXIT
# Its own word that it runs: whatever else may answer at the port is not asked.
until port=$(sed -n 's|.*running on http://[^ ]*:\([0-9]*\) .*|\1|p' "$log"); [[ $port ]]; do
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.2
done

# The embedded models have no chat template: --endpoint-api completions sends the prompt as it is.
lmcot answer questions.jsonl --large "http://127.0.0.1:$port/v1#large" --endpoint-api completions --quiet "$@" |
  python show_answers.py
