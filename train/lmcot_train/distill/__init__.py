"""Rationale distillation: a small LM learns to write the rationales that led a large LM to right answers.

Run as `lmcot train distill`; with several processes, `accelerate launch -m lmcot_cli train distill ...`.
"""
