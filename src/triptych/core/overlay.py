"""Mappings laid over each other: profiles over the default, a method over what all share, a variant over its method."""


def replaces(base: object, new: object) -> bool:
    """Whether a value takes the other's place whole: one of them is no mapping, or `new` is of another `name`."""
    if not (isinstance(base, dict) and isinstance(new, dict)):
        return True
    return "name" in new and new["name"] != base.get("name")


def overlaid(base: dict, overlay: dict) -> dict:
    """`base` with the overlay's values in their places, at any depth; neither is changed."""
    result = dict(base)
    for key, new in overlay.items():
        old = base.get(key)
        result[key] = new if replaces(old, new) else overlaid(old, new)
    return result
