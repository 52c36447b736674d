"""What a model's files hold, looked at before a library opens them, and what they are known by.

A folder, an adapter or a graph may come from anybody. Read it in this order: `places` (a file is a file, and lies in
its folder), `safetensors_header`, `weights` (which files hold the weights), `settings` (what config.json may ask for),
`folder` (all of that, for what transformers and peft open), `onnx_graphs`, `gguf_parts`, `digests`.

Nothing here imports torch, transformers, peft or onnx.
"""
