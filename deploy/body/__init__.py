"""A body to live in: a simulated arena, the parts that move through it, and what a crawl showed."""

from __future__ import annotations
