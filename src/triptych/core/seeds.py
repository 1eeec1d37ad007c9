"""Seeds as a function of what they are for."""

import hashlib


def fold(*parts: int | str) -> int:
    """A 63-bit seed from any mixture of numbers and names, e.g. `fold(seed, "epoch", 3)`."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
