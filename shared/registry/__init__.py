"""The model registry as a fold of the log: what is known of a family, what is in force, and what taught a model."""

from __future__ import annotations

from shared.registry.family import Family as Family
from shared.registry.family import Standing as Standing
from shared.registry.family import evolved as evolved
from shared.registry.family import in_force as in_force
from shared.registry.family import status_of as status_of
from shared.registry.manifest import Manifest as Manifest
from shared.registry.manifest import manifest_of as manifest_of
