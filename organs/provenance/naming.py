"""What in a text leads to a person: a number to call, an address of mail or of a profile, a handle in what is posted.

Patterns know shapes, and no person. What they do not find docs/provenance.md says.
"""

from __future__ import annotations

import re
from typing import Final

from shared.constant import constant

#: As many digits as the shortest number has that begins with no +; only such a text is looked at closer.
_DIGITS: Final = re.compile(r"\d(?:[ ()./-]{0,3}\d){8}")
_NUMBER: Final = re.compile(
    r"""
    \+[1-9][\d ()/-]{7,}\d                                   # +44 20 7946 0958
    | (?:\(|\b)\d{3}(?:\)[-. ]?|[-. ])\d{3}[-. ]\d{4}\b      # (555) 123-4567
    """,
    re.VERBOSE,
)
#: Those that begin with 0. Digits that begin otherwise are one match too, so that none is found in their midst.
_NATIONAL: Final = re.compile(
    r"""
    (?<!\w)\(?(?:
        00[1-9]\d{0,2}[-/ ]\(?\d(?:[-/() ]{0,2}\d){6,11}     # 0044 20 7946 0958
        | 0[1-9](?:[-. ]\d\d){4}(?![-. ]?\d)                 # 01 23 45 67 89, and no longer row of pairs
        | 0[1-9]\d{9}                                        # 07700900123; ten digits may be a book's
        | (?!\d\d[-./](?:19|20)\d\d\b)                       # 0171-1234567 and 06 1234567, no month of a year
          (?:0[1-9]\d{1,3}(?:\)[-/ ]?|[ ]?[-/][ ]?|[ ]|\.(?=\d+\.\d))\d\d | 0[1-9](?:\)[-/ ]?|[ ]?[-/][ ]?|[ ])\d{3})
          (?:[-./ ]?\d){4,8}
    )(?!\d)
    | (?P<other>\d+(?:[-.,/ ]\d+)*)
    """,
    re.VERBOSE,
)
#: Whose paths are profiles, but for those of the site itself.
_SITES: Final = ("x.com/", "twitter.com/", "facebook.com/", "fb.com/", "instagram.com/", "t.me/", "linkedin.com/in/")
_PROFILE: Final = re.compile(
    rf"""
    (?<![\w.@-])(?:https?://)?(?:[a-z-]{{1,8}}\.)?(?:{"|".join(re.escape(site) for site in _SITES)})
    (?!(?:home|search|explore|hashtag|share|sharer|intent|login)\b)[\w@](?:[^\s<>"'()\[\]]*[\w/])?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MAIL: Final = re.compile(r"\w@\w[\w-]*\.\w")
_HANDLE: Final = re.compile(r"(?:^|\W)@\w{2}")


def _national(found: re.Match[str]) -> str:
    return found["other"] or "[#]"


#: The same, whole, and what stands in its place, never longer than it. An address comes first, because it has an @ too.
_MASKS: Final = (
    (_PROFILE, "[@]"),
    (re.compile(r"(?<![\w.+-])[\w.+-]*\w@\w[\w-]*\.[\w.-]*\w"), "[@]"),
    (re.compile(r"(?<!\w)@\w{2,}[@\w]*"), "[@]"),
    (_NUMBER, "[#]"),
    (_NATIONAL, _national),
)
MASKINGS = constant(8, "times", "X-12")


def names_somebody(text: str, *, posted: bool) -> bool:
    """Say whether a text leads to a person; a handle does only in what is posted."""
    if "@" in text and (_MAIL.search(text) or (posted and _HANDLE.search(text))):
        return True
    if "/" in text and _names_site(text.lower()) and _PROFILE.search(text):
        return True
    if "+" not in text and not _DIGITS.search(text):
        return False
    return bool(_NUMBER.search(text)) or any(found["other"] is None for found in _NATIONAL.finditer(text))


def masked(text: str) -> str:
    """Return a text in which each of them is masked: nothing in it names somebody any more.

    What a mask takes away may have kept something else from being found, so it is looked at again. Of a text that is
    made so that this goes on and on nothing is left.
    """
    for _ in range(MASKINGS):
        if not names_somebody(text, posted=True):
            return text
        for pattern, mask in _MASKS:
            text = pattern.sub(mask, text)
    return "[#]" if names_somebody(text, posted=True) else text


def _names_site(lowered: str) -> bool:
    return any(site in lowered for site in _SITES)
