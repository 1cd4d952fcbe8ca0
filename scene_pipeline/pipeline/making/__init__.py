"""The stream: from a planned scene to a published frame, paid once whatever crashes.

Belongs here: that, and the plain values it is told in. Does not belong here: deciding what a scene
needs (`planning`).
"""
