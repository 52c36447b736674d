"""Train the embedded pair from nothing: tokenizer, model, examples, loop.

Run as `lmcot train pretrain`. This is not for real language models: it teaches two models of a few million parameters
to read MicroHop.
"""
