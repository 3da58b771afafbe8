"""The provenance nerve: `provenance.corpus.*.request` in, `provenance.corpus.event.{corpus}.*` out."""

from __future__ import annotations

from nerves.provenance.nerve import ProvenanceNerve as ProvenanceNerve
