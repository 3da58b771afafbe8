"""The datasets organ: what may teach or measure a model, what stands against it, and is it still what it was."""

from __future__ import annotations

from organs.datasets.organ import DatasetsOrgan as DatasetsOrgan
