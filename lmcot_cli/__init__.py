"""LM-guided chain-of-thought on the command line: answer, evaluate, compare."""

__version__ = "0.1.0"
