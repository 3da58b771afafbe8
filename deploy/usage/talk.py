"""Talking with a running organism: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import TRUST, Described, option
from deploy.usage.values import above_zero, count, natural, pace, pattern, share, subject, voice
from shared.subjects.speech import WORDS_A_MINUTE

_TALK = "deploy.commands.talk"
_WATCH = "deploy.commands.watch"
_SPEECH = "deploy.commands.speech"
_EYES = "deploy.commands.eyes"

TALK: dict[str, Described] = {
    "ask": Described(
        f"{_TALK}:ask",
        "ask: arithmetic is answered by the math cell, everything else by cognition",
        (
            option("text", nargs="+", help="for instance 2 + 3, or: what is a nerve?"),
            option(
                "--how",
                choices=("any", "quote", "generate", "decide"),
                default="any",
                help="quote memory, use a language model, or have the boundary decide about a state, such as "
                '{"battery": 12, …}',
            ),
            option("--schema", type=Path, metavar="FILE", help="a JSON schema that the answer must have"),
            option("--personal", action="store_true", help="the question is about a person: keep nothing of it"),
            option("--timeout", type=above_zero, default=30.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "look": Described(
        f"{_EYES}:look",
        "say what is in a picture, and where: by an installed detector (extra `eyes`), or the server at vision_url",
        (
            option("picture", type=Path, metavar="PICTURE", help="a PNG or JPEG file"),
            option("--least", type=share, default=0.25, metavar="SURE", help="how sure of a thing, from 0 to below 1"),
            option("--personal", action="store_true", help="it shows persons: no wave tells what was seen"),
            option("--out", type=Path, metavar="FILE", help="write the picture with a box around each thing, as PNG"),
            option("--timeout", type=above_zero, default=60.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "say": Described(
        f"{_SPEECH}:say",
        "speak a text into a WAV file: with espeak-ng (extra `voice`), or the server at voice_url",
        (
            option("text", nargs="+", help="what to say"),
            option("--out", type=Path, default=Path("speech.wav"), metavar="FILE", help="default: speech.wav"),
            option("--voice", type=voice, default="", metavar="NAME", help="for instance en-us+f2"),
            option("--speed", type=pace, default=WORDS_A_MINUTE, metavar="N", help="words a minute, 80 to 450"),
            option("--timeout", type=above_zero, default=30.0, metavar="S", help="seconds to wait for it"),
        ),
    ),
    "hear": Described(
        f"{_SPEECH}:hear",
        "print what is said in a WAV file: by pocketsphinx (extra `ears`), or the server at ears_url",
        (
            option("file", type=Path, help="a WAV file, 16-bit PCM, at most 15 s"),
            option("--answer", action="store_true", help="it is meant for the organism: what is said may be kept"),
            option("--timeout", type=above_zero, default=60.0, metavar="S", help="seconds to wait for it"),
        ),
    ),
    "pub": Described(
        f"{_TALK}:pub",
        "publish a JSON message",
        (
            option("subject", type=subject, help="with or without the environment"),
            option("data", help='a JSON object, for instance \'{"text": "2+3"}\''),
        ),
    ),
    "request": Described(
        f"{_TALK}:request",
        "send a JSON request and print the answer",
        (
            option("subject", type=subject, help="with or without the environment"),
            option("data", nargs="?", default="{}", help="a JSON object"),
            option("--timeout", type=above_zero, default=5.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "watch": Described(
        f"{_WATCH}:watch",
        "show messages as they pass, decoded and verified",
        (
            option("pattern", type=pattern, nargs="?", default=">", help="a NATS pattern (default: everything)"),
            option("--count", type=count, metavar="N", help="end after N messages"),
            option("--gates", action="store_true", help="only what moves attention, a line for each turn"),
        ),
    ),
    "replay": Described(
        f"{_TALK}:replay",
        "read the log from its genesis and admit every entry again",
        (
            option("pattern", type=pattern, nargs="?", default=">", help="print only what matches"),
            TRUST,
            option("--traces", metavar="PART", help="print the kept signals of a part instead"),
        ),
    ),
    "dead": Described(
        f"{_TALK}:dead",
        "list dead letters, or publish one again",
        (
            option(
                "--redrive",
                dest="index",
                type=natural,
                metavar="INDEX",
                help="publish this one where it first arrived",
            ),
        ),
    ),
    "costs": Described("deploy.commands.costs:costs", "show what each part costs, by measurement"),
}
