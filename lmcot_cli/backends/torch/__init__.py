"""Models that transformers and torch run, and those that ONNX Runtime runs in their place.

Read it in this order: `checkpoint` (the folders of a spec), `loading` (from folders to a model), `vocabulary` (text to
tokens and back), `sequences` (the KV cache of a batch), `scheduler` (the loop), `backend` and `onnx_backend`.

Nothing here imports torch before a model is opened.
"""
