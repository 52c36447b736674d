"""GGUF files from transformers-style weights."""
