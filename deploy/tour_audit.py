"""The end of the tour: what an auditor does, on the log that the tour has just grown."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deploy.backup import tiles_of
from organs.anchor.checkpoint import checkpoint_proofs
from organs.notary import FolderShelf
from shared.audit import FolderSource, LiveSource, Options, Report, Snapshot, verify, write_bundle
from shared.audit.bundle import VERIFIER
from shared.audit.evidence import check_proof, evidence_of, signed_tree
from shared.bus import Bus
from shared.errors import Exit, Fault, Refusal
from shared.files import private_folder, storing
from shared.home import place
from shared.log.store import FolderTiles
from shared.log.tiles import CHECKPOINT, WIDTH, bundle, tile_path
from shared.settings import Settings
from shared.subjects.log import ProofRequest

PATIENCE_TRIES = 100


class StepFailed(Fault):
    """A step of the tour did not hold; the sentence says what was found."""


class Auditor:
    """Verifies the log, proves one decision, tampers with a copy, and has a bundle checked by a stranger's program."""

    def __init__(
        self, bus: Bus, settings: Settings, trust: str, position: Callable[[], int], told: dict[str, Any]
    ) -> None:
        self.bus, self.settings, self.trust, self.position, self.told = bus, settings, trust, position, told
        self.shelf = FolderShelf.of(settings)
        self.folder = place(settings) / "tour"

    def steps(self) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        """Return the steps in order, each with its name."""
        return [("verify", self._verify), ("prove", self._prove), ("tamper", self._tamper), ("bundle", self._bundle)]

    async def _verify(self) -> str:
        """Check the live log against the notary's tiles and signature."""
        await self._signed()
        self.report = await verify(self._live(), Options(trust=self.trust))
        hold(self.report.ok, "; ".join(self.report.lines()))
        self.told["root"] = self.report.root
        return (
            f"{self.report.entries} entries, whole and of the trusted genesis; the notary's newest checkpoint covers "
            f"{self.report.signed} of them, under root {self.report.root[:16]}…, and they are as signed"
        )

    async def _prove(self) -> str:
        """Prove the tour's own decision, and check the proof as somebody who has nothing else."""
        proof = str(evidence_of(self.shelf.tiles, str(self.position())).proof)
        checked = check_proof(proof.encode(), "the proof", self.trust, self.report.log_key)
        hold(checked.ok, "; ".join(checked.lines()))
        return f"entry {self.position()} is in the log: a proof of {len(proof)} bytes says so without the rest of it"

    async def _tamper(self) -> str:
        """Change one bit of that decision in a copy of the tiles, and see it named."""
        copy, index, snapshot = self.folder / "tampered", self.position(), Snapshot(self.shelf.tiles)
        shutil.rmtree(copy, ignore_errors=True)
        there, tile = FolderTiles(copy), index // WIDTH
        tiles, _, note = signed_tree(snapshot)
        for path, data in tiles_of(tiles):
            there.put(path, data)
        there.put(CHECKPOINT, note.encode())
        leaves = tiles.bundle_at(tile)
        leaves[index % WIDTH] = leaves[index % WIDTH][:-1] + bytes([leaves[index % WIDTH][-1] ^ 1])
        there.put(tile_path("entries", tile, tiles.width_at(0, tile)), bundle(leaves))
        found = await verify(FolderSource.at(copy), Options(trust=self.trust))
        named = found.first_bad.index if found.first_bad is not None else None
        hold((found.exit, named) == (Exit.TAMPERED, index), f"tampering with {index} was not found: {found.lines()}")
        return f"one bit changed in a copy: {found.integrity.detail}"

    async def _bundle(self) -> str:
        """Write the log into one file, and have it checked by the program that knows nothing of this product."""
        path = self.folder / "log.zip"
        snapshot = Snapshot(self.shelf.tiles)
        report = await verify(FolderSource(snapshot, "the notary's tiles"), Options(trust=self.trust))
        hold(report.ok, "; ".join(report.lines()))
        size = self._written(path, snapshot, report)
        code, told = await _ask_stranger(path, self.trust)
        hold((code, told.get("entries")) == (0, report.signed), f"the stand-alone verifier says {told}")
        return f"{path}: {size // 1024} KiB, checked by verify.py, which needs a hash and PyNaCl alone"

    def _written(self, path: Path, snapshot: Snapshot, report: Report) -> int:
        private_folder(self.folder)
        anchors = [(f"anchors/{name}", proof) for name, proof in checkpoint_proofs(self.settings)]
        with storing(path), path.open("wb") as file:
            write_bundle(file, snapshot, report, anchors)
        return path.stat().st_size

    async def _signed(self) -> None:
        """Return when the notary has signed the tour's decision, which it does when somebody asks for its proof."""
        answer: object = None
        for _ in range(PATIENCE_TRIES):
            answer = await self.bus.request(ProofRequest(self.position()))
            if not isinstance(answer, Refusal):
                return
            await self.bus.world.sleep(0.1)
        raise StepFailed(f"the notary gives no proof of entry {self.position()}: {answer}")

    def _live(self) -> LiveSource:
        note = self.shelf.recall()
        kept = [] if note is None else [note.encode()]
        return LiveSource(self.bus.entries, f"the bus of {self.settings.env}", Snapshot(self.shelf.tiles), kept)


async def _ask_stranger(path: Path, trust: str) -> tuple[int, dict[str, Any]]:
    """Run the stand-alone verifier as a process of its own that cannot see this product; return what it says."""
    words = ("-I", str(VERIFIER), str(path), "--trust", trust, "--json")
    running = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await running.communicate()
    try:
        return running.returncode or 0, json.loads(out)
    except json.JSONDecodeError:
        return running.returncode or 1, {"said": (out + err).decode(errors="replace")[:500]}


def hold(truth: object, otherwise: str) -> None:
    """Fail the step with this sentence unless something holds."""
    if not truth:
        raise StepFailed(otherwise)
