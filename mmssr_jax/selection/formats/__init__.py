"""Selections in the formats of other programs: one file each, which declares `FORMAT` (see `selection.format`)."""
