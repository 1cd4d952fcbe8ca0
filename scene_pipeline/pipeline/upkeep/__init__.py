"""What keeps the installation sound: healing, drift, collection, retention, the archive.

Belongs here: that, and the plain values it is told in. Does not belong here: when it is done
(`defs`).
"""
