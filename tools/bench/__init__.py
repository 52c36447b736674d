"""Measure lmcot beside llama.cpp alone and other programs, and profile its engine.

    python -m tools.bench model.gguf --threads 2
    python -m tools.bench --shape 135m --quantize q4_0 --plot rates.png

`lmcot bench` measures lmcot alone; this is for those who work on it. Read it in this order: `options` (what is
measured), `measure` (the run, part by part), `high_level`, `engine`, `server` and `transformers_model` (the parts),
`library_calls` and `bare` (llama.cpp alone), `split` (where Python's time goes), `report` and `table` (what comes out),
`plot`. `shapes` and `random_model` make a model where there is none.
"""
