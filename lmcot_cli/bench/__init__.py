"""Measure how fast this machine writes samples of GGUF models, and which settings serve best.

Read it in this order: `options` (what is measured), `prompts` (token ids of an exact number), `measure` (the run, model
by model and width by width), `process` (each width in a process of its own, so that peaks of memory do not mix),
`engine` (one width), `report` (what comes out). Nothing here prints.
"""
