"""Imported by the process that commands are forked from: see forked.py."""

from __future__ import annotations

from tests.forked import preload

preload()
