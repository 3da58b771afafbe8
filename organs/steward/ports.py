"""The steward's ports: the ground it creates streams on, and the door through which identities reach the server."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from shared.bus.bucket import SimBucket, bucket_stream, bucket_subjects
from shared.bus.sim import SimDurable, SimServer, SimStream
from shared.bus.wire import stream_name
from shared.constant import constant
from shared.errors import ConfigFault, StorageFault, Unreachable
from shared.log.entry import MAX_STORED_BYTES
from shared.subjects.models import LEASE_TTL_S, LEASES

TRACE_AGE_S = constant(7 * 24 * 3600, "s", "NIM-09")
OUTCOME_AGE_S = constant(30 * 24 * 3600, "s", "NIM-09")
TRANSITION_AGE_S = constant(24 * 3600, "s", "NIM-09")
DEAD_AGE_S = constant(7 * 24 * 3600, "s", "X-12")
DEAD_LETTERS = constant(10_000, "letters", "X-12")
ACK_WAIT_S = constant(5, "s", "X-07")
LEASE_KEYS = constant(4_096, "devices", "NIM-16")
LEASE_BYTES = constant(1_024, "bytes", "NIM-16")
NOT_FOUND = 404
TOO_FEW = (10005, 10074)  #: no suitable peers; not clustered


class Ground(Protocol):
    """Where streams and durable consumers live. Only the steward holds one."""

    @property
    def replicas(self) -> int:
        """How many servers keep each stream, and each durable consumer with it."""
        ...

    async def subjects_of(self, stream: str) -> list[str] | None:
        """Return the subjects a stream stores, None where it does not exist.

        ConfigFault where more or fewer servers keep it than it should be: a stream is never changed from here.
        """
        ...

    async def create_stream(self, config: dict[str, Any]) -> None:
        """Make a stream; ConfigFault where there are fewer servers than are to keep it."""
        ...

    async def has_consumer(self, stream: str, config: dict[str, Any]) -> bool:
        """Say whether the durable consumer exists with these filters."""
        ...

    async def create_consumer(self, stream: str, config: dict[str, Any]) -> None: ...


class Door(Protocol):
    """Who may connect to the server, and with which permissions."""

    async def admit(self, name: str, nkey: str, publish: list[str], subscribe: list[str], *, answers: bool) -> None: ...

    def at_once(self) -> AbstractAsyncContextManager[None]:
        """Open for all who are admitted meanwhile when it ends, if not sooner: many at once cost what one does.

        None of them may count on the door before.
        """
        ...


class OpenDoor:
    """The door of a server whose identities somebody else administers: nothing is changed there."""

    async def admit(self, name: str, nkey: str, publish: list[str], subscribe: list[str], *, answers: bool) -> None:
        return

    def at_once(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()


def log_config(env: str, replicas: int = 1) -> dict[str, Any]:
    """Return the log's JetStream configuration: one fixed tree of subjects, everything kept, no rewriting."""
    return _base(stream_name("log", env), [f"{env}.*.*.event.>"], replicas) | {
        "max_msg_size": MAX_STORED_BYTES,
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        "allow_atomic": True,
    }


def dead_config(env: str, replicas: int = 1) -> dict[str, Any]:
    """Return the dead letters' configuration: bounded in number and age, the oldest go first."""
    bounds = {"max_msgs": DEAD_LETTERS, "max_age": DEAD_AGE_S * 10**9, "discard": "old"}
    return _base(stream_name("dead", env), [f"{env}.system.dead.letter.>"], replicas) | bounds


def outcomes_config(env: str, replicas: int = 1) -> dict[str, Any]:
    """Return the configuration of the outcomes: a copy from the log, kept for 30 days, for whoever wants only those.

    No stream may share subjects with the log, so this one has none: it is filled from there.
    """
    source = {"name": stream_name("log", env), "filter_subject": f"{env}.nervous.outcome.event.>"}
    kept = {"sources": [source], "max_age": OUTCOME_AGE_S * 10**9, "discard": "old"}
    return _base(stream_name("outcomes", env), [], replicas) | kept


def leases_config(env: str, replicas: int = 1) -> dict[str, Any]:
    """Return the configuration of the leases of devices: a key-value bucket whose values end with their time.

    One age for all of them, not a time to live with each message: every lease lasts equally long, and who holds the
    bucket's permissions cannot write one that lasts for ever.
    """
    bounds = {"max_msgs_per_subject": 1, "max_age": LEASE_TTL_S * 10**9, "max_msg_size": LEASE_BYTES, "discard": "new"}
    kept = {"max_msgs": LEASE_KEYS, "deny_delete": True, "deny_purge": True}
    return _base(bucket_stream(LEASES, env), [bucket_subjects(LEASES, env)], replicas) | bounds | kept


def kept_config(stream: str, subjects: list[str], age_s: int, replicas: int = 1) -> dict[str, Any]:
    """Return the configuration of a part's kept signals: for so long, written without waiting for the disk.

    Where several servers keep it, the server knows no such thing.
    """
    hurry = {"persist_mode": "async"} if replicas == 1 else {}
    return _base(stream, subjects, replicas) | {"max_age": age_s * 10**9, "discard": "old"} | hurry


def _base(name: str, subjects: list[str], replicas: int) -> dict[str, Any]:
    """Return what every stream has in common (durations are in nanoseconds)."""
    shape: dict[str, Any] = {
        "name": name,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "num_replicas": replicas,
    }
    return shape | {"allow_direct": True}


def consumer_config(durable: str, filters: list[str]) -> dict[str, Any]:
    """Return a durable consumer's configuration: every entry in order, one at a time, until it is acknowledged.

    As many servers keep it as keep its stream.
    """
    return {
        "durable_name": durable,
        "name": durable,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT_S * 10**9,
        "max_ack_pending": 1,
        "max_deliver": -1,
        "filter_subjects": filters,
    }


class NatsGround:
    """The JetStream API of a real server, over the steward's own connection."""

    def __init__(self, client: Client, replicas: int = 1) -> None:
        self.client, self.replicas = client, replicas

    async def subjects_of(self, stream: str) -> list[str] | None:
        found = await self._found(f"STREAM.INFO.{stream}")
        if found is None:
            return None
        kept = found["config"].get("num_replicas", 1)
        if kept != self.replicas:
            change = f"nats stream edit {stream} --replicas {self.replicas}"
            raise ConfigFault(
                f"{stream} has num_replicas {kept}, nats_replicas is {self.replicas}: have the cluster's administrator "
                f"run `{change}`, or set nats_replicas to {kept}"
            )
        return found["config"].get("subjects", [])

    async def create_stream(self, config: dict[str, Any]) -> None:
        await self._checked(f"STREAM.CREATE.{config['name']}", config)

    async def has_consumer(self, stream: str, config: dict[str, Any]) -> bool:
        found = await self._found(f"CONSUMER.INFO.{stream}.{config['name']}")
        return found is not None and sorted(_filters(found["config"])) == config["filter_subjects"]

    async def create_consumer(self, stream: str, config: dict[str, Any]) -> None:
        body = {"stream_name": stream, "config": _single_filter(config), "action": ""}
        await self._checked(f"CONSUMER.DURABLE.CREATE.{stream}.{config['name']}", body)

    async def _found(self, call: str) -> dict[str, Any] | None:
        answer = await self._call(call, None)
        error = answer.get("error")
        if error is not None and error.get("code") != NOT_FOUND:
            raise Unreachable(f"{call} is not answered now: {error.get('description')} ({error.get('err_code')})")
        return answer if error is None else None

    async def _checked(self, call: str, body: dict[str, Any]) -> None:
        answer = await self._call(call, body)
        if "error" in answer:
            error = answer["error"]
            if error.get("err_code") in TOO_FEW:
                raise ConfigFault(
                    f"{error.get('description')}: there are not {self.replicas} servers that could keep what {call} "
                    "asks for; start them, or set nats_replicas to less"
                )
            text = f"the server refused {call}: {error.get('description')} ({error.get('err_code')})"
            raise StorageFault(text) if "resource" in text or "storage" in text else Unreachable(text)

    async def _call(self, call: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        try:
            answer = await self.client.request(f"$JS.API.{call}", data, timeout=5)
        except (NatsError, APIError) as error:
            raise Unreachable(
                f"JetStream does not answer {call} ({type(error).__name__}); is it enabled on the server?"
            ) from error
        return json.loads(answer.data)


class SimGround:
    """The same on a simulated server."""

    replicas = 1

    def __init__(self, server: SimServer) -> None:
        self.server = server

    async def subjects_of(self, stream: str) -> list[str] | None:
        found = self.server.streams.get(stream) or self.server.buckets.get(stream)
        return None if found is None else list(found.patterns)

    async def create_stream(self, config: dict[str, Any]) -> None:
        """Make a stream; what a real server copies from another one is not copied here."""
        if "max_msgs_per_subject" in config:
            self.server.buckets[config["name"]] = SimBucket(tuple(config["subjects"]), config["max_age"] / 1e9)
            return
        self.server.streams[config["name"]] = SimStream(tuple(config["subjects"]), config.get("max_msgs"))

    async def has_consumer(self, stream: str, config: dict[str, Any]) -> bool:
        return (stream, config["name"]) in self.server.durables

    async def create_consumer(self, stream: str, config: dict[str, Any]) -> None:
        patterns, at_once = tuple(config["filter_subjects"]), config["max_ack_pending"]
        self.server.durables[stream, config["name"]] = SimDurable(stream, patterns, ACK_WAIT_S, at_once)


def _filters(config: dict[str, Any]) -> list[str]:
    return config.get("filter_subjects") or ([config["filter_subject"]] if config.get("filter_subject") else [])


def _single_filter(config: dict[str, Any]) -> dict[str, Any]:
    """A lone filter travels in its own field, as every server version understands."""
    if len(config["filter_subjects"]) != 1:
        return config
    rest = {k: v for k, v in config.items() if k != "filter_subjects"}
    return rest | {"filter_subject": config["filter_subjects"][0]}
