"""Models that transformers and torch run, and those that ONNX Runtime runs in their place.

Read it in this order: `checkpoint` (which folders a spec names), `loading` (from folders to a model),
`vocabulary` (strings to tokens and back), `sequences` (the KV cache of a batch), `writing` (the loop that
writes completions), `backend` and `onnx_backend` (the `Backend`s that tie them).

Nothing here imports torch before a model is opened.
"""
