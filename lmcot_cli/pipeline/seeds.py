"""One seed per row and sample, so that neither the order of rows nor the size of a batch changes a sample."""

from __future__ import annotations

from hashlib import blake2b


def sample_seed(run_seed: int, row_id: str, index: int) -> int:
    """Return the seed of a row's sample `index`, the same on every machine.

    Returns:
        31 bits: engines take 32 and some read the highest value as "choose one yourself".
    """
    key = f"{run_seed}\0{index}\0{row_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(key, digest_size=4).digest()) >> 1
