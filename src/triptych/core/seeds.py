"""Random seeds derived from names and numbers."""

import hashlib


def fold(*names: int | str) -> int:
    """Hash names and numbers to a 63-bit seed, for example `fold(seed, "epoch", 3)`."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
