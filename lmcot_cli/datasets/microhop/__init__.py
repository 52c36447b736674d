"""MicroHop: multi-hop questions over an invented world, without end and without contamination.

A record names people, films, cities, companies... that exist nowhere else, in HotpotQA's layout: titled paragraphs
(supporting ones and distractors that share names and relations), supporting facts, gold rationale and answer.
"""

from lmcot_cli.datasets.microhop.generate import MicroHopOptions, records

__all__ = ["MicroHopOptions", "records"]
