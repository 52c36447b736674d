"""The reward of a rationale: eight aspects of its text, and whether the large LM answers right from it."""
