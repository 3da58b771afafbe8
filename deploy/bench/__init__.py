"""What ours costs beside the raw library and the nearest framework: a module for each area, measured in one run.

Absolute figures mean nothing on shared machines; the ratios of one run do.
"""
