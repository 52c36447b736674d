"""The engine on llama.cpp's low-level API: one loaded model, many sequences in one batch.

Read it in this order: `options` (what can be set), `library`, `gguf_header` and `model` (loading),
`vocabulary`, `chat` and `text` (strings to tokens and back), `prefixes` (what prompts share), `context`
(the KV cache and the batch), `sampling` (choosing tokens), `spans` and `scheduler` (the loop: admit, share,
decode, sample, retire), `backend` (the `Backend` that ties them).
"""
