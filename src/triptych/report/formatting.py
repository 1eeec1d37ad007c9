"""Format numbers as text for the HTML page, the terminal, figures and claims."""

from collections.abc import Mapping

from triptych.measures.estimate import Estimate

NBSP = "\u00a0"  # before a unit, to prevent a line break
# Formats in addition to Python's format specifications.
POINTS = "points"  # for differences of fractions: `−28.4 points`
PLAIN = "plain"  # two decimals below ten, one above: `0.92`, `12.3`
PERCENT = ".1%"
YES_NO = "yes or no"  # for 1 and 0


def written(value: object, style: str = ".4g") -> str:
    """Format a value as text, such as `97.3 %` or `0.5 (0.4 to 0.6)`. `style` is a format such as `.1%` or `points`."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Estimate):
        interval = written_interval(value, style)
        return f"{written(value.value, style)} ({interval})" if interval else written(value.value, style)
    if isinstance(value, int | float):
        return _number(value, style).replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {written(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(written(entry) for entry in value)
    return str(value)


def written_interval(estimate: Estimate, style: str = ".4g") -> str:
    """Format the interval of an estimate as text, such as `35.2 to 42.3 %`. Equal bounds give an empty string.

    The prefix `seeds: ` marks a range over training seeds. `style` is a format for the function `written`.
    """
    if estimate.low == estimate.high:
        return ""
    low = written(estimate.low, style).removesuffix(f"{NBSP}%").removesuffix(" points")
    return f"{'' if estimate.is_interval else 'seeds: '}{low} to {written(estimate.high, style)}"


def written_limit(threshold: float, style: str = "g") -> str:
    """Format a threshold as text without trailing zeros, such as `0.8`, `50 %`, `5 points` or `1 point`."""
    if style == POINTS:
        text = f"{100 * threshold:g} point{'' if threshold == 0.01 else 's'}"
    else:
        text = f"{100 * threshold:g}{NBSP}%" if style.endswith("%") else f"{threshold:g}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Format a duration in seconds as text, such as `48 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def hardware(timing: Mapping) -> str:
    """Describe training hardware, such as `CPU, 2 processes of 1 thread`. `timing` is the content of a timing file."""
    device = str(timing.get("device", "unknown device"))
    name = device.upper() if device in ("cpu", "mps") else device
    threads, processes = timing.get("threads", 1), timing.get("processes", 1)
    count = f"{threads} thread{'s' if threads != 1 else ''}"
    return f"{name}, {processes} processes of {count}" if processes > 1 else f"{name}, {count}"


def _number(value: float, style: str) -> str:
    if style == POINTS:
        return f"{100 * value:+.1f} points"
    if style == YES_NO:
        return "yes" if value else "no"
    if style == PLAIN:
        return f"{value:.{2 if abs(value) < 10 else 1}f}"
    return format(value, style).replace("%", f"{NBSP}%")
