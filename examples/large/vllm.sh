#!/usr/bin/env bash
# vLLM, on this machine or in your rack. Start it first: vllm serve Qwen/Qwen2.5-7B-Instruct --port 8000
# URL and MODEL name another one. What would be asked: ./vllm.sh --dry-run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

url=${URL:-http://127.0.0.1:8000/v1}
model=${MODEL:-Qwen/Qwen2.5-7B-Instruct}
lmcot answer questions.jsonl --large "$url#$model" --samples 8 --max-in-flight 512 "$@"
