"""The content of a model's files, checked before a library opens them, and their digests.

A folder, an adapter or a graph may come from anybody. Read it in this order: `places` (a file is a file, and lies in
its folder), `safetensors_header`, `weights` (the files of the weights), `settings` (what config.json may ask for),
`folder` (all of that, for what transformers and peft open), `onnx_graphs`, `gguf_header`, `gguf_parts`, `digests`.

Nothing here imports torch, transformers, peft or onnx.
"""
