"""Readers of question files in every layout, and the MicroHop generator."""
