"""Rationales to distil from: a large LM's own chains of thought, or a human's, as far as they pass the filters.

Run as `lmcot train rationales`.
"""
