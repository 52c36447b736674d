"""`lmcot train rationales`: a large LM's chains of thought, or people's rationales, that pass the filters."""
