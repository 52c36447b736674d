#!/usr/bin/env bash
# The embedded large LM: nothing to install, nothing to download. More options can follow: ./embedded.sh --samples 5
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lmcot answer questions.jsonl --large builtin:large --quiet "$@" | python show_answers.py
