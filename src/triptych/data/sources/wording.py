"""What a library says of an error, in one line."""


def one_line(error: Exception) -> str:
    """Its message, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
