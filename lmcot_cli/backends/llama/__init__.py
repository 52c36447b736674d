"""The engine on llama.cpp's low-level API: one loaded model, many sequences in one batch.

Read it in this order: `library` and `model` (loading), `vocabulary` (text to tokens and back), `context` (the KV cache
and the batch), `prefixes` (what prompts share), `scheduler` (the loop), `masks` (replies by a grammar), `backend`.
"""
