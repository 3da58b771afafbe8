"""The vault organ: it carries out erasures, and nothing else leaves it."""

from __future__ import annotations

from organs.vault.organ import ErasureDelayed as ErasureDelayed
from organs.vault.organ import VaultOrgan as VaultOrgan
