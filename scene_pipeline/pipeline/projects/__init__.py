"""Projects as a whole: documents in and out, their settings, what a person chose.

Belongs here: that, and the plain values it is told in. Does not belong here: single scenes
(`planning`).
"""
