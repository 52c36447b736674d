"""What strangers wrote and a library would run for as long and as large as it likes: run in a process with limits.

Chat templates, prompt templates, the rules of tokenizers and JSON schemas are small programs. They run in one child
process (`child`), which holds itself to limits of time, memory and output for every single call and is asked through a
pipe (`process`). What breaks a limit, crashes or never ends takes the child with it, and not the run.
"""
