"""What other tools read of a model, written from the log: pure functions from its story to bytes (ILL-07, ILL-16)."""

from __future__ import annotations

from shared.exports.folder import exported as exported
from shared.exports.story import HEARD as HEARD
from shared.exports.story import Said as Said
from shared.exports.story import Story as Story
from shared.exports.story import Telling as Telling
from shared.exports.story import told as told
