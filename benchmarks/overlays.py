"""Overlays of params.yaml from dotted keys."""


def nested(changes: dict) -> dict:
    """Convert values at dotted keys to a nested overlay of params."""
    tree: dict = {}
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = tree
        for name in sections:
            place = place.setdefault(name, {})
        place[last] = value
    return tree
