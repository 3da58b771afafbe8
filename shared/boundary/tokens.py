"""The vocabulary of a boundary model: the 256 bytes, four marks, and the task's own words, each in one piece.

Digits are single tokens, so a number is read digit by digit. Any text can be written; what the task writes is short.
llama.cpp reads the same vocabulary from the model's file: its `gpt2` tokenizer without merges, each piece a token that
the user defined. A grammar forces whatever it leaves no choice about, cut by that tokenizer; so a piece ends where a
choice begins. A model whose pieces reach across a choice is held to single bytes, which it never learned to write.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from shared.boundary.task import Choice, Function, Task
from shared.constant import constant

Kind = Literal["mark", "byte", "piece"]

PAD, EOS, BOS, UNK = range(4)
MARKS = ("<pad>", "<eos>", "<bos>", "<unk>")
BYTES = 256
CONTEXT_TOKENS = constant(256, "tokens", "NIM-14")  # more than any prompt and call together
BEGIN = '{"function":"'  #: how every call begins
PIECE = 2  #: bytes at least: one byte is a token already


class Vocabulary:
    """The tokens of one task, in order: marks, bytes, pieces."""

    def __init__(self, task: Task) -> None:
        pieces = pieces_of(task)
        kinds: list[tuple[Kind, int]] = [("mark", len(MARKS)), ("byte", BYTES), ("piece", len(pieces))]
        self.kinds = [kind for kind, count in kinds for _ in range(count)]
        self.texts = (*MARKS, *byte_letters(), *pieces)
        first = len(MARKS) + BYTES
        self._piece = {piece: first + place for place, piece in enumerate(pieces)}
        self._longest_first = sorted(pieces, key=lambda piece: (-len(piece), piece))

    def __len__(self) -> int:
        return len(self.texts)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text: the longest pieces are taken out first, as llama.cpp does."""
        parts: list[str | int] = [text]
        for piece in self._longest_first:
            parts = [each for part in parts for each in self._split(part, piece)]
        return [token for part in parts for token in ([part] if isinstance(part, int) else _bytes(part))]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens up to the end mark; other marks say nothing, what is no text becomes U+FFFD."""
        raw = bytearray()
        for token in tokens:
            if token == EOS:
                break
            if token >= len(MARKS) + BYTES:
                raw += self.texts[token].encode()
            elif token >= len(MARKS):
                raw.append(token - len(MARKS))
        return raw.decode("utf-8", "replace")

    def _split(self, part: str | int, piece: str) -> list[str | int]:
        if isinstance(part, int) or piece not in part:
            return [part]
        split: list[str | int] = []
        for text in part.split(piece):
            split += [text, self._piece[piece]]
        return [each for each in split[:-1] if each != ""]


def pieces_of(task: Task) -> tuple[str, ...]:
    """Return the task's own words: how fields are introduced in a prompt, what calls are made of, and their values."""
    found = [f"{' ' * bool(place)}{field.name}=" for place, field in enumerate(task.fields)]
    found.append(BEGIN)
    for function in task.functions:
        found += [function.name, *_frame(function)]
        options = [a.type.options for a in function.arguments if isinstance(a.type, Choice)]
        found += [option for some in options for option in some if isinstance(option, str)]
    return tuple(dict.fromkeys(piece for piece in found if len(piece) >= PIECE))


@cache
def byte_letters() -> tuple[str, ...]:
    """Return how each byte is written in a byte-level vocabulary: itself if it is printable, else a letter from U+0100.

    The public table of GPT-2's tokenizer, which llama.cpp knows as `gpt2`.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(BYTES) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(BYTES + place) for place, byte in enumerate(others)}
    return tuple(letters[byte] for byte in range(BYTES))


def _frame(function: Function) -> list[str]:
    """Return what stands after a function's name and between its values, quotation marks included."""
    frame: list[str] = []
    text = '","args":{'
    for place, argument in enumerate(function.arguments):
        quote = '"' if isinstance(argument.type, Choice) and isinstance(argument.type.options[0], str) else ""
        frame.append(f'{text}{"," * bool(place)}"{argument.name}":{quote}')
        text = quote
    return [*frame, f"{text}}}}}"]


def _bytes(text: str) -> list[int]:
    return [len(MARKS) + byte for byte in text.encode()]
