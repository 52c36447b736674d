"""Train the embedded pair from nothing: tokenizer, model, examples, loop.

This is not for real language models: it teaches two models of a few million parameters to read MicroHop. Run it in the
root of the repository: python -m tools.pretrain large -o runs/large --minutes 43
"""
