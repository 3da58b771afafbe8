"""What clients post, read as Ollama reads it: the types are checked, and what cannot be kept is refused by name.

Unknown fields of a post are ignored, for clients send newer ones. Unknown *options* are refused: an option that changes
nothing would be a pretence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from organs.organd.durations import keep_alive_ms
from organs.organd.ports import BadRequest, Completion, Held
from shared.constant import constant

MAX_POST_BYTES = constant(4_000_000, "bytes", "X-12")
MAX_TEXTS = constant(1_000, "texts", "X-12")
ASKED_NAME_CHARS = constant(256, "characters", "X-12")
ANY_JSON = {"type": "object"}

#: What Ollama assumes where a client says nothing, in llama.cpp's names.
DEFAULTS: dict[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "max_tokens": -1,
}

Name = Annotated[str, StringConstraints(min_length=1, max_length=ASKED_NAME_CHARS)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Post(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Options(_Post):
    """How to say it. Fields in llama.cpp's names, read from Ollama's."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    top_p: Share | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    repeat_penalty: Finite | None = None
    presence_penalty: Finite | None = None
    frequency_penalty: Finite | None = None
    mirostat: Annotated[int, Field(ge=0, le=2)] | None = None
    mirostat_tau: Finite | None = None
    mirostat_eta: Finite | None = None
    seed: Annotated[int, Field(ge=-1, lt=2**32)] | None = None
    stop: list[str] | str | None = None
    num_predict: Annotated[int, Field(ge=-2, le=10_000_000)] | None = None
    num_keep: Annotated[int, Field(ge=-1, le=10_000_000)] | None = None
    num_ctx: Annotated[int, Field(ge=1)] | None = None

    def as_llama(self, context: int) -> dict[str, Any]:
        """Return them in llama.cpp's names; BadRequest where the model holds fewer tokens than `num_ctx`."""
        if self.num_ctx is not None and self.num_ctx > context:
            raise BadRequest(f"num_ctx is {self.num_ctx}, and the model is loaded with {context}")
        said = self.model_dump(exclude_none=True, exclude={"num_ctx"})
        for ours, theirs in (("num_predict", "max_tokens"), ("num_keep", "n_keep")):
            if ours in said:
                said[theirs] = max(said.pop(ours), -1)
        whole = {**DEFAULTS, **said}
        # what was computed for an earlier prompt may differ in the last bit; where the same answer is wanted, it is not
        return {**whole, "cache_prompt": whole["temperature"] > 0 and "seed" not in said}


class _Ask(_Post):
    model: Name
    keep_alive: str | float | int | None = None
    options: Options | None = None

    def keep_ms(self) -> int | UnsetType | None:
        """Return how long the model is to stay, None for ever, UNSET where nothing was said."""
        return UNSET if self.keep_alive is None else keep_alive_ms(self.keep_alive)


class _Say(_Ask):
    stream: bool = True
    format: Literal["json", ""] | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None

    def schema_of(self) -> Mapping[str, Any] | None:
        """Return the JSON schema that the answer keeps to."""
        if not self.format:
            return None
        return ANY_JSON if self.format == "json" else self.format

    def asked(self, held: Held, context: int, **what: Any) -> Completion:  # noqa: ANN401 - prompt or messages
        """Return what is asked of a loaded model. Raises BadRequest."""
        if self.think:
            raise BadRequest(f'"{held.name}" does not support thinking')
        if self.logprobs:
            raise BadRequest("logprobs are not given here")
        return Completion(
            **what,
            piecewise=self.stream,
            schema=self.schema_of(),
            options=(self.options or Options()).as_llama(context),
        )


class GeneratePost(_Say):
    """`POST /api/generate`."""

    prompt: str = ""
    system: str = ""
    raw: bool = False
    suffix: str | None = None
    template: str | None = None
    images: list[Any] | None = None
    context: list[int] | None = None

    def completion(self, held: Held, context: int) -> Completion:
        """Return what is asked: through the model's template where it has one, as Ollama does. Raises BadRequest."""
        for field, offered in (("suffix", "insert"), ("images", "image input"), ("template", "another template")):
            if getattr(self, field):
                raise BadRequest(f'"{held.name}" does not support {offered}')
        if self.context:
            raise BadRequest("context is not kept here: send the conversation to /api/chat")
        if self.raw and self.system:
            raise BadRequest("raw mode does not support template, system, or context")
        if self.raw or not held.facts.template:
            return self.asked(held, context, prompt="\n".join(filter(None, (self.system, self.prompt))))
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self.asked(held, context, messages=[*system, {"role": "user", "content": self.prompt}])


class Turn(_Post):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[Any] | None = None
    tool_calls: list[Any] | None = None


class ChatPost(_Say):
    """`POST /api/chat`."""

    messages: list[Turn] = []
    tools: list[Any] | None = None

    def completion(self, held: Held, context: int) -> Completion:
        """Return what is asked. Raises BadRequest."""
        if not held.facts.template:
            raise BadRequest(f'"{held.name}" does not support chat: its file holds no template for conversations')
        if self.tools or any(turn.tool_calls for turn in self.messages):
            raise BadRequest(f'"{held.name}" does not support tools')
        if any(turn.images for turn in self.messages):
            raise BadRequest(f'"{held.name}" does not support image input')
        turns = [{"role": turn.role, "content": turn.content} for turn in self.messages]
        return self.asked(held, context, messages=turns)


class EmbedPost(_Ask):
    """`POST /api/embed`."""

    input: str | list[str] = []
    truncate: bool = True
    dimensions: Annotated[int, Field(ge=1)] | None = None

    def texts(self) -> list[str]:
        """Return what is to be embedded. Raises BadRequest where it is too much."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        if len(texts) > MAX_TEXTS:
            raise BadRequest(f"{len(texts)} texts at once, at most {MAX_TEXTS} are taken")
        return texts


class EmbeddingsPost(_Ask):
    """`POST /api/embeddings`, the older form."""

    prompt: str = ""


class NamePost(_Post):
    """A post that names a model: `show`, `pull`, `delete` and the like."""

    model: str = ""
    name: str = ""  #: older clients

    def named(self) -> str:
        """Return the model's name. Raises BadRequest."""
        name = self.model or self.name
        if not name:
            raise BadRequest("model is required")
        return name


P = TypeVar("P", bound=_Post)


def read_post(raw: bytes, shape: type[P]) -> P:
    """Return a post. Raises BadRequest with the first thing that is wrong."""
    if not raw.strip():
        raise BadRequest("missing request body")
    try:
        return shape.model_validate(msgspec.json.decode(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where or 'the body'}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON ({str(error)[:100]})") from None
