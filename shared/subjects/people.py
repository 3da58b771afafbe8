"""People: whose keys may vote and sign, and in which roles. Only the steward's operator asks for this."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.message import Reply, Request
from shared.subjects.consensus import Role
from shared.subjects.system import Granted


class IntroducePerson(Request, subject="system.steward.person.request", reply=Granted):
    """Have a person's key introduced for ballots in these roles, and nothing else.

    Refused B005 where the name or the key is another's, G007 for a role that people do not have.
    """

    person: str
    roles: list[Role]
    key_id: str
    public: bytes
    nkey: str  #: the person's connection key; empty where somebody else administers the connections


class PersonEnded(Reply, subject="system.steward.person_ended.reply"):
    """The person's key ended; what it signed before stays counted."""

    person: str
    key_id: str
    index: int


class EndPerson(Request, subject="system.steward.person_ended.request", reply=PersonEnded):
    """Have a person's key revoked. Refused G010 where nobody of this name has one, B002 without a reason."""

    person: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
