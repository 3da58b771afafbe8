"""What in a text leads to a person: a number to call, an address of mail, and in what is posted a handle."""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"\+[1-9][\d ()-]{7,}\d|\b\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}\b")
_MAIL: Final = re.compile(r"\w@\w[\w-]*\.\w")
_HANDLE: Final = re.compile(r"(?:^|\W)@\w{2}")
#: The same, whole, and what stands in its place, never longer than it. Mail comes first, because it has an @ too.
_MASKS: Final = (
    (re.compile(r"[\w.+-]*\w@\w[\w-]*\.[\w.-]*\w"), "[@]"),
    (re.compile(r"(?<!\w)@\w{2,}[@\w]*"), "[@]"),
    (_NUMBER, "[#]"),
)


def names_somebody(text: str, *, posted: bool) -> bool:
    """Say whether a text leads to a person; a handle does only in what is posted."""
    if "@" in text and (_MAIL.search(text) or (posted and _HANDLE.search(text))):
        return True
    return _NUMBER.search(text) is not None


def masked(text: str) -> str:
    """Return a text in which each of them is masked: nothing in it names somebody any more."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text
