"""The embedded ears: pocketsphinx in a process of its own, held to a list of sentences, judged before it is believed.

Held to a list, a decoder hears one of its sentences in whatever is said. Three numbers tell a sentence that was said
from one that was forced: how much better the whole is than free phones, how its weakest word does, and how far the
phones that were heard lie from those of the words. Their weights were learned on speech of espeak-ng, and judged on
voices that they were not learned on (docs/decisions/0020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from organs.ears.port import Understood
from organs.ears.sound import Samples, levelled
from shared.constant import constant
from shared.engine import Engine, EngineFailed, EngineMissing
from shared.errors import ConfigFault, Refusal, Refused
from shared.extras import how_to_install

HEARING_S = constant(30.0, "s", "NIM-17")
MAX_COMMANDS = constant(500, "sentences", "X-12")
COMMAND_CHARS = constant(100, "characters", "X-12")
HEARD_SURE_PPM = constant(500_000, "ppm", "NIM-17")  # more likely said than not
WHOLE, WEAKEST, APART, BIAS = 0.232, 0.082, -3.91, 3.98  #: weights of the three numbers, by logistic regression
BUILT_IN = Path(__file__).with_name("commands.txt")
PROGRAM = Path(__file__).with_name("sphinx_child.py")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz' ")


class SphinxHearing:
    """Hears the sentences of a list. Owns its process."""

    def __init__(self, commands: Sequence[str], program: Path = PROGRAM) -> None:
        self.engine = Engine(program, {"sentences": list(commands)})

    @property
    def pid(self) -> int | None:
        return self.engine.pid

    async def hear(self, heard: Samples) -> Understood:
        try:
            said, _ = await self.engine.ask({}, levelled(heard), HEARING_S)
        except EngineMissing as missing:
            todo = f"{how_to_install('ears')}; or set ears_url and ears_model to a server that transcribes"
            raise Refused(Refusal("B011", f"the optional extra `ears` is not installed ({missing}): {todo}")) from None
        except EngineFailed as failed:
            raise Refused(Refusal("H006", str(failed))) from None
        text = str(said["text"])
        sure_ppm = confidence_ppm(said["whole"], said["weakest"], said["apart"]) if text else 0
        if sure_ppm < HEARD_SURE_PPM:
            detail = f"no listed sentence was heard (the likeliest by {sure_ppm} ppm, {HEARD_SURE_PPM} are needed)"
            raise Refused(Refusal("H004", f"{detail}; speak one of ears_commands, or set ears_url for free speech"))
        return Understood(text, sure_ppm, "pocketsphinx", "en-us", cost_ulf=int(said["cpu_us"]), command=True)

    async def close(self) -> None:
        await self.engine.close()


def confidence_ppm(whole: float, weakest: float, apart: float) -> int:
    """Return how likely it is that a sentence was said and not forced, in ppm."""
    odds = WHOLE * whole + WEAKEST * weakest + APART * apart + BIAS
    return round(1_000_000 / (1.0 + math.exp(-max(-50.0, min(50.0, odds)))))


def read_commands(path: Path | None) -> tuple[str, ...]:
    """Return the sentences in a file, or the built-in ones; ConfigFault names the line that is none."""
    where = path or BUILT_IN
    try:
        lines = [line.strip().lower() for line in where.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"ears_commands {where} cannot be read ({error}); name a text file") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    for number, line in numbered:
        if not _LETTERS.issuperset(line) or len(line) > COMMAND_CHARS:
            expected = f"words of letters, at most {COMMAND_CHARS} characters"
            raise ConfigFault(f"line {number} of {where} is no sentence that can be heard; expected {expected}")
    commands = tuple(dict.fromkeys(" ".join(line.split()) for _, line in numbered))
    if not 1 <= len(commands) <= MAX_COMMANDS:
        raise ConfigFault(f"{where} has {len(commands)} sentences; expected 1 to {MAX_COMMANDS}, one a line")
    return commands
