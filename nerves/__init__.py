"""Nerves: one folder each, deciders that record their evidence."""
