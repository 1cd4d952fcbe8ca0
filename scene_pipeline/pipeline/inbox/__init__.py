"""Documents that arrive as files, and what is written beside them.

Belongs here: that, and the plain values it is told in. Does not belong here: what an import does to
a project (`projects`).
"""
