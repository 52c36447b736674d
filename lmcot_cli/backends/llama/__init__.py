"""The engine on llama.cpp's low-level API: one loaded model, many sequences in one batch.

Read it in this order: `library`, `gguf_header` and `model` (loading),
`vocabulary`, `chat` and `text` (strings to tokens and back), `context` (the KV cache and the batch),
`prefixes` (what prompts share), `sampling` (choosing tokens), `scheduler` (the loop: admit, decode, sample,
retire), `backend` (the `Backend` that ties them).
"""
