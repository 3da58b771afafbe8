"""What the values of options are read by: a text in, what it means out, or what is wrong with it."""

from __future__ import annotations

import argparse
import re

from shared.subjects.memory import MAX_RECALLED
from shared.subjects.speech import FASTEST_SPEECH, SLOWEST, VOICE_NAME


def _number(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def above_zero(text: str) -> float:
    """Read a finite number above zero."""
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return number


def finite(text: str) -> float:
    """Read a finite number."""
    number = _number(text)
    if not abs(number) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return number


def share(text: str) -> float:
    """Read a share, from 0 to below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return number


def fingerprint(text: str) -> str:
    """Read a genesis's fingerprint."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"a fingerprint has 64 digits 0-9a-f, found {text!r}")
    return text


def natural(text: str, least: int = 0) -> int:
    """Read a whole number that is not negative."""
    number = whole(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is below {least}")
    return number


def count(text: str) -> int:
    """Read a whole number of at least one."""
    return natural(text, 1)


def voice(text: str) -> str:
    """Read the name of a voice."""
    if not re.fullmatch(VOICE_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no voice's name, such as en-us+f2")
    return text


def pace(text: str) -> int:
    """Read words a minute."""
    number = whole(text)
    if not SLOWEST <= number <= FASTEST_SPEECH:
        raise argparse.ArgumentTypeError(f"{text} is not {SLOWEST} to {FASTEST_SPEECH}")
    return number


def recalled(text: str) -> int:
    """Read how many passages memory shall find."""
    number = count(text)
    if number > MAX_RECALLED:
        raise argparse.ArgumentTypeError(f"{text} is above {MAX_RECALLED}")
    return number


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; port 0 is a free one."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or natural(port) > 65_535:  # noqa: PLR2004 - the last port there is
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def pattern(text: str) -> str:
    """Read a subject pattern, with or without its environment."""
    tokens = text.split(".")
    if not text.isprintable() or " " in text or "" in tokens or ">" in tokens[:-1]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no subject pattern; tokens are joined by dots, and > stands last"
        )
    return text


def subject(text: str) -> str:
    """Read one subject, with or without its environment."""
    if {"*", ">"} & set(pattern(text).split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is a pattern, and a message is sent on one subject")
    return text
