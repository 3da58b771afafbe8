"""The registry nerve: models, evidence and votes in; what is registered, promoted, blocked or rolled back out."""

from __future__ import annotations

from nerves.registry.nerve import RegistryNerve as RegistryNerve
