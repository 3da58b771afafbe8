"""Personal data's own subjects: an erasure is asked for, ordered and complete. None of them names anyone."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.constant import constant
from shared.message import Decision, Request
from shared.subjects.system import Decided

MAX_ERASE_REASON_CHARS = constant(200, "characters", "X-12")
MAX_ERASE_BY_CHARS = constant(128, "characters", "X-12")
Reason = Annotated[str, msgspec.Meta(max_length=MAX_ERASE_REASON_CHARS)]
Role = Annotated[str, msgspec.Meta(max_length=MAX_ERASE_BY_CHARS)]


class EraseRequest(Request, subject="privacy.vault.erase.request", reply=Decided, confidential=True):
    """Erase a person. Whoever asks looks the pseudonym up in the vault: no name ever travels.

    Words that name anybody the vault knows are refused, and like everything confidential they are kept nowhere.
    """

    person: str  #: the pseudonym, 32 hexadecimal digits
    reason: Reason  #: stays in the log for ever, so it says nothing about the person
    by: Role  #: in which role it was asked for, never who


class ErasureOrdered(Decision, subject="privacy.vault.event.{person}.erasure_ordered"):
    """A person's key, salts and name are about to be destroyed; from here on it is finished whatever crashes."""

    person: str  #: the pseudonym
    reason: Reason
    by: Role


class PersonErased(Decision, subject="privacy.vault.event.{person}.erased"):
    """A person's key, salts and name are destroyed, in the vault and in every copy of it.

    Whoever derived something in the open from this person's data deletes it now; a copy of ciphertext, such as the
    records view, has nothing to do.
    """

    person: str  #: the pseudonym
    ordered_index: int  #: where the erasure was ordered
    ordered_offset: int
    copies: list[str]  #: the ids of the backups that were rewritten
