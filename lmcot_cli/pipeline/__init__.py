"""Orchestration without printing: reader -> rationales -> answers -> vote -> writer."""
