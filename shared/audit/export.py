"""A decision in other worlds' formats: DSSE, in-toto, PROV. Each says only what the log holds.

    DSSE      our signature is one already: payload = attribute bytes, payloadType = the envelope's type
    in-toto   Statement v1 about an entry's envelope or a bundle's bytes, by SHA-256 and BLAKE3
    PROV      events are entities, entries the activities that made them, parts the agents

Sources: secure-systems-lab/dsse protocol 1.0, in-toto attestation framework v1, W3C PROV-JSON (2013).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blake3 import blake3

from shared.audit.bundle import BundleSource
from shared.audit.evidence import Evidence, events_of
from shared.envelope.envelope import ENVELOPE_TYPE
from shared.log.entry import Entry

STATEMENT = "https://in-toto.io/Statement/v1"
ENTRY_PREDICATE = "urn:nimmerverse:log-entry:v1"
BUNDLE_PREDICATE = "urn:nimmerverse:bundle:v1"


def dsse(evidence: Evidence) -> dict[str, Any]:
    """Return an entry's signature as a DSSE envelope in JSON; its events stay with the entry, bound by `root`."""
    sealed = evidence.sealed
    payload = sealed.signed.split(b" ", 4)[4]
    signatures = [{"keyid": one.k, "sig": _base64(one.sig)} for one in sealed.signatures]
    return {"payload": _base64(payload), "payloadType": ENVELOPE_TYPE, "signatures": signatures}


def in_toto(evidence: Evidence) -> dict[str, Any]:
    """Return an in-toto statement: this envelope stands in that log, under that checkpoint."""
    attributes, entry = evidence.sealed.attributes, evidence.entry
    predicate = {
        "origin": evidence.checkpoint.origin,
        "index": entry.index,
        "subject": entry.subject,
        "source": attributes.source,
        "time": attributes.time,
        "proof": str(evidence.proof),
    }
    return _statement(f"{evidence.checkpoint.origin}#{entry.index}", entry.raw, ENTRY_PREDICATE, predicate)


def in_toto_of_bundle(path: Path) -> dict[str, Any]:
    """Return an in-toto statement about a bundle file. BrokenBundle where it is not what it lists."""
    source = BundleSource(path)
    manifest = source.manifest
    source.close()
    predicate = {
        "origin": manifest.origin,
        "size": manifest.size,
        "fingerprint": manifest.fingerprint,
        "kind": manifest.kind,
        "changed": source.changed,
    }
    return _statement(path.name, path.read_bytes(), BUNDLE_PREDICATE, predicate)


def prov(entries: Iterable[Entry], origin: str) -> dict[str, Any]:
    """Return what entries say of their origin as PROV-JSON; entries without a readable envelope are left out."""
    told: dict[str, dict[str, Any]] = {
        kind: {} for kind in ("entity", "activity", "agent", "wasGeneratedBy", "wasAssociatedWith", "wasDerivedFrom")
    }
    for entry in entries:
        said = events_of(entry)
        if said is None:
            continue
        sealed, events = said
        attributes = sealed.attributes
        activity, agent = f"nv:entry-{entry.index}", f"nv:part-{attributes.source}"
        told["activity"][activity] = {
            "prov:endTime": attributes.time,
            "nv:index": _integer(entry.index),
            "nv:subject": entry.subject,
        }
        told["agent"].setdefault(agent, {"prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}})
        told["wasAssociatedWith"][f"_:a{entry.index}"] = {"prov:activity": activity, "prov:agent": agent}
        for offset, event in enumerate(events):
            entity = f"nv:event-{event.id.hex()}"
            told["entity"][entity] = {"nv:offset": _integer(offset)}
            told["wasGeneratedBy"][f"_:g{entry.index}-{offset}"] = {"prov:entity": entity, "prov:activity": activity}
            if event.cause:
                cause = f"nv:event-{event.cause.hex()}"
                told["entity"].setdefault(cause, {})
                derived = {"prov:generatedEntity": entity, "prov:usedEntity": cause}
                told["wasDerivedFrom"][f"_:d{entry.index}-{offset}"] = derived
    return {"prefix": {"nv": f"urn:nimmerverse:{origin}:"}, **{kind: found for kind, found in told.items() if found}}


def _statement(name: str, raw: bytes, kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    digest = {"sha256": hashlib.sha256(raw).hexdigest(), "blake3": blake3(raw).hexdigest()}
    subject = [{"name": name, "digest": digest}]
    return {"_type": STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate}


def _integer(value: int) -> dict[str, Any]:
    return {"$": str(value), "type": "xsd:long"}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
