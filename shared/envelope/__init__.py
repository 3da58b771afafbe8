"""The signed envelope every decision travels in, and the one function that judges it. SPEC.md has the grammar."""

from __future__ import annotations

from shared.envelope.admission import Lane as Lane
from shared.envelope.admission import Prefix as Prefix
from shared.envelope.admission import Verdict as Verdict
from shared.envelope.admission import admit as admit
from shared.envelope.admission import recall as recall
from shared.envelope.admission import type_of as type_of
from shared.envelope.envelope import Attributes as Attributes
from shared.envelope.envelope import Event as Event
from shared.envelope.envelope import Sealed as Sealed
from shared.envelope.envelope import Signature as Signature
from shared.envelope.envelope import Unsigned as Unsigned
from shared.envelope.envelope import assemble as assemble
from shared.envelope.envelope import derive_event_id as derive_event_id
from shared.envelope.envelope import pack_event as pack_event
from shared.envelope.envelope import prepare as prepare
from shared.envelope.envelope import read as read
from shared.envelope.envelope import read_event as read_event
from shared.envelope.envelope import read_signed as read_signed
from shared.envelope.envelope import rfc3339 as rfc3339
from shared.envelope.envelope import seal as seal
from shared.envelope.keybook import KeyBook as KeyBook
from shared.envelope.keybook import covers as covers
from shared.envelope.keybook import fingerprint_of as fingerprint_of
from shared.envelope.leaf import entry_of as entry_of
from shared.envelope.leaf import leaf_of as leaf_of
