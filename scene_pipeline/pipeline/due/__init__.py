"""What is due by itself, and the launches that are committed for it.

Belongs here: that, and the plain values it is told in. Does not belong here: which work a scene
needs (`planning`), and run requests (`defs`).
"""
