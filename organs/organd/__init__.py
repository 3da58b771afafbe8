"""The organ of models: one supervisor for a user's models, over Ollama's REST protocol and the bus."""

from __future__ import annotations

from organs.organd.organ import OrgandOrgan as OrgandOrgan
from organs.organd.place import where as where
from organs.organd.registry import FOLDER as FOLDER
from organs.organd.registry import Registry as Registry
