"""`say` and `hear`: a text to speech in a WAV file, and a WAV file to words."""

from __future__ import annotations

from argparse import Namespace

import msgspec

from deploy.asking import ask_organ
from deploy.commands.task import finish
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import ConfigFault, Exit
from shared.files import write_private
from shared.subjects.speech import HearReply, HearRequest, SpeakReply, SpeakRequest
from shared.world import RealWorld, new_id

_VOICE, _EARS = "organs.voice", "organs.ears"


def say(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Have a text spoken and write it as a WAV file."""
    utterance = new_id(RealWorld(loaded.settings.env))
    asked = SpeakRequest(utterance, " ".join(args.text), args.voice, args.speed)

    async def main() -> Exit:
        spoken = await ask_organ(_VOICE, asked, args.timeout, loaded, terminal)
        assert isinstance(spoken, SpeakReply)
        write_private(args.out.absolute(), spoken.audio)
        told = {name: value for name, value in msgspec.to_builtins(spoken).items() if name != "audio"}
        what = f"{spoken.duration_ms} ms by {spoken.engine} ({spoken.voice}), {spoken.latency_ms} ms of waiting"
        terminal.give({**told, "out": str(args.out)}, f"{args.out}: {what}")
        return Exit.OK

    return finish(main())


def hear(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print what is said in a WAV file."""
    try:
        audio = args.file.read_bytes()
    except OSError as error:
        raise ConfigFault(f"{args.file} cannot be read ({error}); name a WAV file") from None

    async def main() -> Exit:
        heard = await ask_organ(_EARS, HearRequest(audio, args.answer), args.timeout, loaded, terminal)
        assert isinstance(heard, HearReply)
        terminal.give(msgspec.to_builtins(heard), heard.text)
        return Exit.OK

    return finish(main())
