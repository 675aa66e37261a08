"""Seeds mixed from what they stand for."""

import hashlib


def seed_of(*parts: str | int) -> int:
    """Mix parts into a seed of 32 bits: near seeds give unrelated draws, the same on every machine and Python."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
