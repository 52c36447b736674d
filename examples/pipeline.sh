#!/usr/bin/env bash
# Shell pipelines around lmcot: questions come in on standard input, results go out on standard output, one JSON
# object per line; progress and summaries stay on standard error. Needs nothing but lmcot, Python and a shell.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The first three answers, as plain text.
head -n 3 questions.jsonl | lmcot answer --quiet | python show_answers.py

# Where do three samples disagree? Look at these questions first.
lmcot answer questions.jsonl --samples 3 --quiet |
  python -c '
import json, sys
for result in map(json.loads, sys.stdin):
    if (result["agreement"] or 0) < 1:
        print(result["id"], result["votes"], sep="\t")'

# Your own question.
echo '{"question": "Who is the spouse of the director of Winter Harbor?", "context": ["Winter Harbor is a film directed by Una Lanwell.", "Una Lanwell is married to Wendel Kelford.", "Wendel Kelford was born in Port Dungrad."]}' |
  lmcot answer --quiet | python show_answers.py
