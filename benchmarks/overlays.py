"""Changes of params.yaml that benchmarks make by dotted keys."""


def nested(changes: dict) -> dict:
    """Values at dotted keys as an overlay of params."""
    tree: dict = {}
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = tree
        for name in sections:
            place = place.setdefault(name, {})
        place[last] = value
    return tree
