#!/usr/bin/env bash
# A hosted endpoint, which bills: first look at what would be asked, ./hosted.sh --dry-run
# The key is read from OPENAI_API_KEY; another provider's address from OPENAI_BASE_URL. MODEL=gpt-5-mini is the default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lmcot answer questions.jsonl --large "openai:${MODEL:-gpt-5-mini}" --rpm 500 --tpm 200000 --max-errors 10% "$@"
