"""Judging frames: does a version hold what it promises, and does the document point to it?

Belongs here: coming to a verdict. Does not belong here: what the checks are called and mean
(`pipeline.checks`), when they are made (`making`, `upkeep`), how they are shown (`defs`).
"""
