"""Tiny models for the tests, made on the spot: the one home of everything that builds one.

    gguf_files   Llama-shaped GGUF files with random weights
    families     GGUF files of every kind of memory that llama.cpp has for a text
    tokenizers   tokenizers of every kind, trained in milliseconds
    folders      folders in transformers' layout with random weights
    thinking     folders of models that were taught to think before they answer

`python -m tests.tiny_models FOLDER` writes one folder of every family, tokenizer and peculiarity.
"""
