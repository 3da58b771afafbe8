"""The collision nerve: distance and motor waves in, `nervous.collision.event.{site}.decided` and commands out."""

from __future__ import annotations

from nerves.collision.nerve import CollisionNerve as CollisionNerve
from nerves.collision.state import Avoiding as Avoiding
from nerves.collision.state import CollisionWindow as CollisionWindow
