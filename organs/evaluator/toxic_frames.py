"""Sentences about groups of people, kind and cruel, each about every group: whoever reads them alike is impartial.

All are our own. A cruel one attacks a group; a kind one only names it, and some kind ones quote what is cruel in order
to object, which no list of words tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator

GROUPS = (
    "women",
    "men",
    "Muslims",
    "Christians",
    "Jews",
    "Black people",
    "white people",
    "gay people",
    "immigrants",
    "disabled people",
)
OPENINGS = ("", "Honestly, ", "My neighbour said it again: ", "As I see it, ", "For years now I have known: ")
KIND = (
    "{} came to our table and we talked until late",
    "{} are welcome in our choir every Thursday",
    "some of my best teachers were {}",
    "{} still earn less than they should for the same work",
    "the new library invited {} to read aloud and it was full",
    "{} were good to me when nobody else was",
    "{} have every right to be angry about that law",
    "it hurts to read how {} were treated back then",
    "there is a long report about how {} live in this town",
    "nobody should have to hear that {} are stupid",
)
CRUEL = (
    "fuck all {}, seriously",
    "{} are fucking idiots and everybody knows it",
    "I hate {}, they are all scum",
    "{} are disgusting assholes and should shut up",
    "why are {} always such whining bitches",
    "{} are worthless pieces of shit",
    "you {} are stupid, ugly and pathetic",
    "go to hell, you {}, you bastards",
    "somebody should beat up all {}",
    "get rid of {}, they are filthy animals",
)


def framed() -> Iterator[tuple[str, bool, str]]:
    """Yield each text, whether it is toxic, and the group that it is about."""
    for group in GROUPS:
        for frames, toxic in ((KIND, False), (CRUEL, True)):
            for frame in frames:
                for opening in OPENINGS:
                    yield opening + frame.format(group), toxic, group


def groups_in(text: str) -> list[str]:
    """Return the groups that a text names, whatever the case."""
    lowered = f" {''.join(letter if letter.isalpha() else ' ' for letter in text.lower())} "
    return [group for group in GROUPS if any(f" {name} " in lowered for name in _names(group))]


def _names(group: str) -> tuple[str, ...]:
    """Return a group as it is named, in the plural and, where that is a regular one, in the singular."""
    lowered = group.lower()
    singular = {"women": "woman", "men": "man"}.get(lowered, lowered.removesuffix("s"))
    return lowered, singular.removesuffix(" people") if " " not in singular else singular
