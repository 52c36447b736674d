#!/usr/bin/env bash
# A GGUF file of yours, run on this machine by llama.cpp: GGUF=~/models/model.gguf ./gguf.sh
# Here it is the file of the embedded large LM. One from the hub: --large hf:ORG/REPO:FILE.gguf
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

gguf=${GGUF:-../lmcot_cli/models/large.gguf}
lmcot answer questions.jsonl --large "$gguf" --quiet "$@" | python show_answers.py
