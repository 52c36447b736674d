"""What a rationale is worth: eight aspects of the text itself, and whether the large LM answers right from it."""
