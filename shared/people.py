"""People as the log knows them: identities whose keys are entitled to their own ballots and to nothing else.

They are written down nowhere besides: a person is whoever's key has only ballots of their own among its grants, and
their roles are those grants. So who could vote at any index is a question to the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import msgspec

from shared.ballots import PEOPLES, ballot_grants, roles_granted
from shared.bus.wire import inbox_prefix, stream_name
from shared.envelope.keybook import Key, KeyBook
from shared.errors import Refusal, Refused
from shared.keys import key_id_of
from shared.subjects.consensus import Role
from shared.subjects.system import GrantRequest

PERSON_VERSION = "1"


class Person(msgspec.Struct, frozen=True):
    """A name, the roles it votes and signs in, and the key that does."""

    name: str
    roles: tuple[Role, ...]
    key: Key


def people_of(book: KeyBook, env: str) -> list[Person]:
    """Return the people whom the log introduced, those whose key ended among them, in the order of their keys."""
    known = sorted(book.keys.values(), key=lambda key: (key.first, key.key_id))
    found = [(key, roles_granted(env, key.part, [grant.pattern for grant in key.grants])) for key in known]
    return [Person(key.part, tuple(roles), key) for key, roles in found if roles]


def person_of(book: KeyBook, env: str, name: str) -> Person | None:
    """Return who speaks in this name now; None where it is nobody, or a part."""
    return next((one for one in people_of(book, env) if one.name == name and one.key.last is None), None)


def needs_of(env: str, name: str, roles: Iterable[Role], nkey: str, public: bytes) -> GrantRequest:
    """Return what a person is granted: their own ballots in these roles, and to read the log."""
    grants, log = ballot_grants(env, name, list(roles)), stream_name("log", env)
    return GrantRequest(
        part=name,
        version=PERSON_VERSION,
        owner=name,
        nkey=nkey,
        key_id=key_id_of(public),
        public=public,
        publish=sorted([*grants, f"$JS.API.DIRECT.GET.{log}", f"$JS.API.DIRECT.GET.{log}.>"]),
        subscribe=[f"{inbox_prefix(name)}.>"],
        answers=False,
        grants=grants,
        scored=[],
        consumers={},
        traces=[],
        transitions=[],
    )


def needs_of_all(book: KeyBook, env: str, nkey: Callable[[str], str]) -> list[GrantRequest]:
    """Return what everybody needs whose key has not ended."""
    alive = [one for one in people_of(book, env) if one.key.last is None]
    return [needs_of(env, one.name, one.roles, nkey(one.name), one.key.public) for one in alive]


def roles_in(words: Iterable[str]) -> list[Role]:
    """Return roles that were written as words. Refused G007 where people have no such role."""
    roles = cast("list[Role]", list(words))
    no = roles_refused(roles)
    if no is not None:
        raise Refused(no)
    return roles


def roles_refused(roles: list[Role]) -> Refusal | None:
    """Return why nobody is introduced in these roles; None where somebody may be."""
    wrong = sorted(set(roles) - set(PEOPLES))
    if wrong or not roles or len(set(roles)) < len(roles):
        found = ", ".join(roles) or "none"
        return Refusal("G007", f"people have one or more of the roles {', '.join(PEOPLES)}, each once; found {found}")
    return None
