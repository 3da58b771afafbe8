"""Everything that is exported of one model: each file by its name, as bytes, from its story and two keys.

    model/…               the model itself                 model.sig            its OpenSSF signature
    lineage.jsonl         OpenLineage run events           bom.cdx.json         CycloneDX 1.6
    provenance.json       SLSA provenance, DSSE            evaluation-N.json    what each suite measured, DSSE
    promotion-N.json      the gate's rows, DSSE            summary-N.json       SLSA verification summary, DSSE
    manifest-N.json       ManifestSignature                card.md, card.json   the model's card
    attest.pub            of the DSSE envelopes            model.pub            of model.sig

The same story and the same keys give the same bytes. N counts evaluations, and promotions, from 0 in the log's order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from shared.canonical import canonical
from shared.exports.attest import evaluation, plain, provenance, signed, summary, test_result
from shared.exports.bom import bill
from shared.exports.card import as_json, as_markdown, card
from shared.exports.lineage import run_events
from shared.exports.manifest import manifest_signature
from shared.exports.signature import P256Signer, ed25519_pem, model_signature
from shared.exports.story import Story
from shared.keys import LocalSigner

FOLDER: Final = "model"
_SUFFIXES: Final = {b"GGUF": ".gguf"}


def exported(story: Story, model: bytes, attestor: LocalSigner) -> dict[str, bytes]:
    """Return every file. ConfigFault without the extra `attest`."""
    beside = P256Signer.beside(attestor)
    name = f"{story.family}{_SUFFIXES.get(model[:4], '.safetensors')}"
    whole = card(story)
    return {
        f"{FOLDER}/{name}": model,
        "model.sig": plain(model_signature(FOLDER, {name: model}, beside)),
        "model.pub": beside.public_pem,
        "attest.pub": ed25519_pem(attestor.public),
        "lineage.jsonl": b"".join(plain(event) + b"\n" for event in run_events(story)),
        "bom.cdx.json": json.dumps(bill(story), indent=1, ensure_ascii=False).encode() + b"\n",
        "card.json": as_json(whole),
        "card.md": as_markdown(whole),
        "provenance.json": plain(signed(provenance(story), attestor)),
        **dict(_each(story, attestor)),
    }


def _each(story: Story, attestor: LocalSigner) -> Iterator[tuple[str, bytes]]:
    for number, evaluated in enumerate(story.evaluations):
        yield f"evaluation-{number}.json", plain(signed(evaluation(story, evaluated), attestor))
    for number, promotion in enumerate(story.promotions):
        yield f"promotion-{number}.json", plain(signed(test_result(story, promotion), attestor))
        yield f"summary-{number}.json", plain(signed(summary(story, promotion), attestor))
        yield f"manifest-{number}.json", canonical(manifest_signature(promotion)) + b"\n"
