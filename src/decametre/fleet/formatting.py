"""Human-readable amounts, durations and times."""

from __future__ import annotations

import time


def duration(seconds: float) -> str:
    """At most two units: `42 s`, `5 min`, `3 h 20 min`, `2 d 4 h`."""
    rounded = max(0, round(seconds))
    if rounded < 90:
        return f"{rounded} s"
    minutes = round(rounded / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(rounded / 3600)
    return f"{hours // 24} d {hours % 24} h"


def amount(number: float, unit: str) -> str:
    """A decimal prefix and three digits: `1.23 GB`, `45.6 MB/s`."""
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * limit:
            return f"{digits(number / limit)} {prefix}{unit}"
    return f"{digits(number)} {unit}"


def digits(number: float) -> str:
    """Three digits, or all digits before the point: `0.0123`, `4.56`, `78.9`, `12,345`."""
    size = abs(number)
    if size < 0.9995:
        return f"{number:.3g}"
    return f"{number:,.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def timestamp(seconds: float) -> str:
    """A time in seconds since 1970, as date and time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
