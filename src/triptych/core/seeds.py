"""Random seeds derived from names and numbers."""

import hashlib


def fold(*names: int | str) -> int:
    """Return a 63-bit seed: a hash of the given names and numbers, for example `fold(seed, "epoch", 3)`."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
