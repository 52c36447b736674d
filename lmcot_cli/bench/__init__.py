"""Measure, on one machine and in one run, how fast samples of a GGUF model are written, and what limits it.

Read it in this order: `options` (what is measured), `prompts` (the same token ids for everyone), `measure` (the
run, part by part), `process` (each part in a process of its own, so that peaks of memory do not mix),
`high_level`, `engine`, `server` and `transformers_model` (the parts), `library_calls` and `bare` (llama.cpp
alone), `split` (where Python's time goes), `report` (what comes out), `plot`. `shapes` and `random_model` make
a model where there is none. Nothing here prints.
"""
