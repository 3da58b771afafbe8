"""What takes posts in: readers, rules, sealing, and the way from a source to a finished dataset. A command drives it.

It is no part of its own. What it does is decided by the provenance nerve, batch by batch.
"""

from __future__ import annotations
