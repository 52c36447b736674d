"""MicroHop: multi-hop questions about an invented world, in unlimited number and without contamination.

A record names people, films, cities and companies that exist nowhere else. Its layout is HotpotQA's: titled paragraphs
(supporting ones, and distractors that share names and relations), supporting facts, gold rationale and answer.
"""

from lmcot_cli.datasets.microhop.generate import MicroHopOptions, records

__all__ = ["MicroHopOptions", "records"]
