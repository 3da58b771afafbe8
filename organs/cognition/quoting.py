"""The embedded language: it answers with the words of memory and where they stand, and never with words of its own."""

from __future__ import annotations

from organs.cognition.port import Asked, Said
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.subjects.cognition import Quote
from shared.subjects.memory import Recalled

#: Measured with all-MiniLM-L6-v2 on this product's own pages: what they say nothing about is at most 0.34 near to them.
NEAR_PPM = constant(360_000, "ppm", "NIM-17")
CLOSE_PPM = constant(150_000, "ppm", "NIM-17")  # a further quote is at most this much less near than the nearest
QUOTES = constant(3, "passages", "NIM-17")
QUOTE_ULF = constant(300_000, "micro-lifeforce", "NIM-07")
NO_WORDS = Refusal("B012", "the question has no words; ask something")
NOTHING = "I hold nothing about this."


class Quoting:
    """Answers by quoting; what takes a model it refuses by name."""

    engine = "memory"
    declared_ulf = QUOTE_ULF

    def __init__(self, near_ppm: int = NEAR_PPM) -> None:
        self.near_ppm = near_ppm

    async def answer(self, asked: Asked) -> Said:
        if asked.reasoning == "generate" or asked.json_schema:
            raise Refused(
                Refusal(
                    "B011",
                    "words of its own, or in a given shape, take a language model, and none is configured: set "
                    "language_url and language_model; without one cognition quotes what memory holds, and has a state "
                    "decided (a JSON object of whole numbers)",
                )
            )
        quotes = near_quotes(asked.passages, self.near_ppm)
        if not quotes:
            return Said("nothing_held", NOTHING, 0)
        told = "\n\n".join(f"“{quote.text}”\n— {where(quote)}" for quote in quotes)
        return Said("quoted", f"I quote what I hold:\n\n{told}", quotes[0].similarity_ppm, quotes)

    async def close(self) -> None:
        return


def near_quotes(passages: tuple[Recalled, ...], near_ppm: int) -> tuple[Quote, ...]:
    """Return the passages near enough to be an answer. What is sealed for a person is nobody's to quote."""
    near = [one for one in passages if one.sealed is None and one.similarity_ppm >= near_ppm]
    close = [one for one in near if one.similarity_ppm + CLOSE_PPM >= near[0].similarity_ppm]
    return tuple(Quote(one.id, one.text, one.origin, one.similarity_ppm) for one in close[:QUOTES])


def where(quote: Quote) -> str:
    """Return where a quote stands, for people."""
    origin = quote.origin
    if origin.kind == "log":
        return f"the log at ({origin.first}, {origin.end}), decided by {origin.name}"
    heading = f" # {origin.heading}" if origin.heading else ""
    return f"{origin.name}{heading}, bytes {origin.first} to {origin.end}"
