"""The real bench: each model in a process of its own, which may die of it or hang, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.engine import Engine, EngineFailed, EngineMissing, EngineNotBegun
from shared.errors import Refusal, Refused

SEAT_ANSWER_S = constant(300.0, "s", "ILL-06")  # for the questions of one asking
PROGRAM = Path(__file__).with_name("bench_child.py")


class EngineBench:
    """Seats models in processes that run a program; the shipped one knows every family."""

    def __init__(self, program: Path = PROGRAM) -> None:
        self.program = program

    async def seat(self, family: str, model: bytes | None) -> EngineSeated:
        async def given() -> bytes:
            return model or b""

        seated = EngineSeated(Engine(self.program, {"family": family, "default": model is None}, given))
        async with AsyncExitStack() as undo:
            undo.push_async_callback(seated.close)
            await seated.begin()
            undo.pop_all()
        return seated


class EngineSeated:
    """A model in its process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def pid(self) -> int | None:
        return self._engine.pid

    async def begin(self) -> None:
        """Have the process load its model, which it does when it is first asked. Refused V004, B011."""
        try:
            await self._engine.ask({}, msgspec.json.encode([]), SEAT_ANSWER_S)
        except EngineMissing as missing:
            found = f"the model needs {missing}, which this installation lacks"
            raise Refused(Refusal("B011", f"{found}; install what its family runs on")) from None
        except EngineNotBegun as failed:
            raise Refused(Refusal("V004", str(failed)[:MAX_REASON_CHARS])) from None
        except EngineFailed as failed:
            raise Refused(Refusal("V004", f"it loads and cannot be asked: {failed}"[:MAX_REASON_CHARS])) from None

    async def ask(self, questions: Sequence[str]) -> list[str]:
        try:
            _, raw = await self._engine.ask({}, msgspec.json.encode(list(questions)), SEAT_ANSWER_S)
            answers = msgspec.json.decode(raw, type=list[str])
        except EngineFailed as failed:
            raise Refused(Refusal("V002", str(failed)[:MAX_REASON_CHARS])) from None
        except msgspec.MsgspecError as odd:
            raise Refused(Refusal("V002", f"the model's process sent what is no answer ({odd})")) from None
        if len(answers) != len(questions):
            raise Refused(Refusal("V002", f"{len(questions)} questions had {len(answers)} answers"))
        return answers

    async def close(self) -> None:
        await self._engine.close()
