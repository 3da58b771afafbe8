"""What the child process of the ears runs: pocketsphinx, once held to a list of sentences and once free to hear phones.

A decoder that knows a few sentences hears one of them in every sound. So the same sound is also read as phones, in any
order, and what the sentence is worth beside that comes back in three numbers; whoever asks judges by them.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

HERTZ = 16_000
LOG_BASE = math.log(1.0001)  #: in which pocketsphinx counts
WORD_SCALE = 1_024  #: a word's own score is counted so much finer than a phone's
PHONE_COST = 200.0  #: what each phone costs where a word is read as phones, so that more phones are not always better
COMMANDS, PHONES = "commands", "phones"

Segment = tuple[str, int, int, float]  #: what, its first and last frame, its acoustic score


def load(options: dict[str, Any], _given: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return what hears one sound. Raises ImportError without the extra, ValueError for sentences it cannot hear."""
    sphinx: Any = importlib.import_module("pocketsphinx")
    sentences: list[str] = options["sentences"]
    decoder: Any = sphinx.Decoder(samprate=HERTZ, lm=None, loglevel="FATAL")
    unknown = sorted({word for one in sentences for word in one.split() if decoder.lookup_word(word) is None})
    if unknown:
        raise ValueError(f"the dictionary has no {', '.join(unknown)}")
    decoder.add_jsgf_string(COMMANDS, f"#JSGF V1.0;\ngrammar commands;\npublic <command> = {' | '.join(sentences)};\n")
    decoder.add_allphone_file(PHONES, sphinx.get_model_path("en-us/en-us-phone.lm.bin"))

    def hear(_asked: dict[str, Any], pcm: bytes) -> tuple[dict[str, Any], bytes]:
        text, score, words = _decode(decoder, COMMANDS, pcm)
        if text not in sentences:  # nothing, or the beginning of a sentence
            return {"text": ""}, b""
        _, free, phones = _decode(decoder, PHONES, pcm)
        spoken = [word for word in words if word[0][0] != "<"]
        if not phones or not spoken:
            return {"text": ""}, b""
        frames = 1 + max(last for _, _, last, _ in words)
        heard = [phone for phone, *_ in phones if phone != "SIL" and phone[0] != "+"]
        expected = [phone for word, *_ in spoken for phone in decoder.lookup_word(word).split()]
        return {
            "text": text,
            "whole": (score - free) / frames,
            "weakest": _weakest(spoken, phones),
            "apart": _distance(heard, expected) / len(expected),
        }, b""

    return hear


def _decode(decoder: Any, search: str, pcm: bytes) -> tuple[str, float, list[Segment]]:  # noqa: ANN401 - untyped there
    """Return what a search makes of a sound, its score, and the pieces with theirs."""
    decoder.reinit_feat()  # else what was heard before changes what is heard now
    decoder.activate_search(search)
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    if best is None:
        return "", 0.0, []
    scale = WORD_SCALE if search == COMMANDS else 1
    pieces = [(s.word, s.start_frame, s.end_frame, _log(s.ascore) / scale) for s in decoder.seg()]
    return best.hypstr, _log(best.score), pieces


def _weakest(words: Sequence[Segment], phones: Sequence[Segment]) -> float:
    """Return by how much the worst word is better, per frame, than phones in its place; below zero it is worse."""
    free = [0.0] * (1 + max(last for _, _, last, _ in (*words, *phones)))
    for _, first, last, acoustic in phones:
        for frame in range(first, last + 1):
            free[frame] = (acoustic - PHONE_COST) / (last - first + 1)
    return min((score - sum(free[first : last + 1])) / (last - first + 1) for _, first, last, score in words)


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many phones must be changed, put in or left out to make one of the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def _log(value: float) -> float:
    """Return a score as pocketsphinx counts it; it hands out its exponential."""
    return math.log(value) / LOG_BASE if value > 0 else -math.inf
