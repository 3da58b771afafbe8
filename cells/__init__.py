"""Cells: one folder each, a pure function of one message."""
