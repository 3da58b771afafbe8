"""Checkpoints: safetensors alone, each under its digest, whole or not at all, and never read before it is verified."""

from __future__ import annotations

from shared.checkpoints.guardian import check as check
from shared.checkpoints.guardian import discard as discard
from shared.checkpoints.guardian import keep as keep
from shared.checkpoints.guardian import load as load
from shared.checkpoints.guardian import note_of as note_of
