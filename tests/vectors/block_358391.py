"""A published proof and the block it leads to: the facts of May 2015 that any Bitcoin node can confirm.

`bitcoin_358391.ots` is the first OpenTimestamps proof ever made, of the text below; `bitcoin_358391.headers` is the
header of its block, whose double SHA-256 is BLOCK_HASH.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
TEXT = b"Hello World!\n"
HEIGHT = 358_391
PROOF = (FOLDER / "bitcoin_358391.ots").read_bytes()
HEADERS = FOLDER / "bitcoin_358391.headers"
HEADER = bytes.fromhex(HEADERS.read_text().split()[1])
BLOCK_HASH = "000000000000000003e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319"
MERKLE_ROOT = "8a1b66ecb7cbd07d8139a7e7d7f2c41aab1f5009b8364aaf61d03ad245e47e00"
TIME = "2015-05-28T15:41:18Z"
