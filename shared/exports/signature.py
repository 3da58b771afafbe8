"""An OpenSSF model signature: a Sigstore bundle over a model's files that `model_signing verify key` accepts.

    payload    in-toto statement v1, predicate https://model_signing/signature/v1.0: each file by its SHA-256
    bundle     Sigstore bundle v0.3 with a public key's hint, no certificate and no transparency log
    key        ECDSA on P-256; its scalar follows from a sealed Ed25519 key and never back, as ML-DSA's seed does

Needs the optional extra `attest` (cryptography). Signatures are deterministic (RFC 6979): same model, same bytes.
Source: the OpenSSF model signing specification 1.0 (github.com/ossf/model-signing-spec).
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Mapping
from typing import Any, Final

from blake3 import blake3

from shared.audit.export import STATEMENT
from shared.envelope.envelope import pae
from shared.errors import ConfigFault
from shared.exports.attest import IN_TOTO, Json, envelope, plain
from shared.extras import how_to_install
from shared.keys import LocalSigner

SIGNATURE: Final = "https://model_signing/signature/v1.0"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SCALAR_CONTEXT: Final = "nimmerverse 2026 p-256 scalar v1"
_SCALAR_BYTES: Final = 48  #: 128 bits more than the order, so that reducing them favours no scalar (FIPS 186-5 A.2.1)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class P256Signer:
    """A P-256 key in memory."""

    __slots__ = ("_key", "_library", "public_pem")

    def __init__(self, scalar: int) -> None:
        self._library = _library("ec")
        self._key = self._library.derive_private_key(scalar, self._library.SECP256R1())
        shape = _library("serialization")
        self.public_pem: bytes = self._key.public_key().public_bytes(
            shape.Encoding.PEM, shape.PublicFormat.SubjectPublicKeyInfo
        )

    @classmethod
    def beside(cls, sealed: LocalSigner) -> P256Signer:
        """Return the key that belongs to a key of the keyring."""
        drawn = blake3(sealed.seed(), derive_key_context=_SCALAR_CONTEXT).digest(_SCALAR_BYTES)
        return cls(int.from_bytes(drawn, "big") % (_ORDER - 1) + 1)

    def sign(self, message: bytes) -> bytes:
        """Return a signature of exactly these bytes, in DER."""
        digest = _library("hashes").SHA256()
        return self._key.sign(message, self._library.ECDSA(digest, deterministic_signing=True))

    def __repr__(self) -> str:
        return "P256Signer()"


def statement(name: str, files: Mapping[str, bytes]) -> Json:
    """Return the statement about a model's folder of this name: each file by its path in it, and all as one."""
    resources = [
        {"name": path, "algorithm": "sha256", "digest": hashlib.sha256(content).hexdigest()}
        for path, content in sorted(files.items())
    ]
    whole = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": SIGNATURE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": resources,
        },
    }


def model_signature(name: str, files: Mapping[str, bytes], signer: P256Signer) -> Json:
    """Return the bundle that is written beside a model's folder."""
    payload = plain(statement(name, files))
    dsse = envelope(IN_TOTO, payload, [("", signer.sign(pae(IN_TOTO, payload)))])
    hint = hashlib.sha256(signer.public_pem).hexdigest()
    material: Json = {"publicKey": {"hint": hint}, "tlogEntries": []}
    return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": dsse}


def ed25519_pem(public: bytes) -> bytes:
    """Return an Ed25519 public key as other tools read it (RFC 8410)."""
    der = bytes.fromhex("302a300506032b6570032100") + public
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"


def _library(name: str) -> Any:  # noqa: ANN401 - the module is optional, so its types are not at hand
    place = {"ec": "asymmetric.ec", "hashes": "hashes", "serialization": "serialization"}[name]
    try:
        return importlib.import_module(f"cryptography.hazmat.primitives.{place}")
    except ImportError:
        raise ConfigFault(
            "a model signature needs cryptography, which is not installed here: " + how_to_install("attest")
        ) from None
