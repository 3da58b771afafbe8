"""Signatures of requests to an S3-compatible server: AWS Signature Version 4, with the payload's SHA-256 in each.

Source: the Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks: the access key, its secret, and the region that both are for."""

    access_key: str
    secret: str = field(repr=False)
    region: str = "us-east-1"


def query_of(query: Mapping[str, str]) -> str:
    """Return a query in the one order and spelling that is signed."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))


def signed(  # noqa: PLR0913, PLR0917 - what is signed: each is its own fact
    account: Account,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    payload_sha256: str,
    now_ns: int,
) -> dict[str, str]:
    """Return the headers of a request with its time, its payload's SHA-256 and its signature; names in lower case.

    `headers` holds `host`, and whatever else is to be signed. `path` is quoted already.
    """
    stamp = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
    every = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    every |= {"x-amz-content-sha256": payload_sha256, "x-amz-date": stamp}
    names = ";".join(sorted(every))
    lines = "".join(f"{name}:{every[name]}\n" for name in sorted(every))
    canonical = "\n".join([method, path, query_of(query), lines, names, payload_sha256])
    scope = f"{stamp[:8]}/{account.region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _hmac(_key(account, stamp[:8]), f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}").hex()
    credential = f"Credential={account.access_key}/{scope}"
    return every | {"authorization": f"{ALGORITHM} {credential},SignedHeaders={names},Signature={signature}"}


def _key(account: Account, day: str) -> bytes:
    key = f"AWS4{account.secret}".encode()
    for part in (day, account.region, "s3", "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
