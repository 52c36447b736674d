"""Proximal policy optimization of a language model against a reward for whole rationales.

`trainer` holds the loop and reads like the algorithm; `kl`, `advantages`, `losses` and `statistics` hold its formulas
as pure functions of tensors.
"""
