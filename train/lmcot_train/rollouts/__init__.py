"""Rationales that a policy writes while it learns: sampled, scored, rewarded and validated, whatever the algorithm.

`policy` holds the models, which `causal`, `separate` and `seq2seq` run; `sampling` writes with them, `scored` scores
what was written, `judge` joins both with the reward, and `monitor` follows a run with it.
"""
