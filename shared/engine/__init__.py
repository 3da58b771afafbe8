"""An engine: a library that may crash or hang, in a process of its own that answers one request after the other."""

from __future__ import annotations

from shared.engine.process import Engine as Engine
from shared.engine.process import EngineDied as EngineDied
from shared.engine.process import EngineFailed as EngineFailed
from shared.engine.process import EngineMissing as EngineMissing
from shared.engine.process import EngineNotBegun as EngineNotBegun
