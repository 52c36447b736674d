"""Run what strangers wrote, and a library would run for as long as it likes, in a process with limits.

Chat templates, prompt templates, the rules of tokenizers and JSON schemas are small programs. They run in one child
process (`child`), which applies limits of time, memory and output to every call and is called through a pipe
(`process`). A call that breaks a limit, crashes or never ends takes the child with it, but not the run.
"""
