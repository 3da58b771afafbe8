"""Toxicity: words and their weights, a model that learns from labelled posts, and what both are measured by."""

from __future__ import annotations
