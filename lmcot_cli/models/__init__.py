"""The embedded pair of GGUF files, with their card and checksums."""
