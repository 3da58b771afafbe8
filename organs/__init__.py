"""Organs: one folder each, what touches the world through ports."""
