"""Random seeds derived from names."""

import hashlib


def fold(*names: int | str) -> int:
    """Hash numbers and names to a 63-bit seed, for example `fold(seed, "epoch", 3)`."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
