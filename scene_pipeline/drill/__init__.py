"""The drill: faults on purpose, on the user's own database and storage, in a scratch project.

Belongs here: the stand-in for Fal, the scripted faults, what must hold under them, and the removal
of all of it. Does not belong here: how a person asks for it and is shown it (`cli.drill`).
"""
