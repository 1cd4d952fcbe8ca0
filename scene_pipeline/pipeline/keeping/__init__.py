"""One picture from its provider to our store: found, checked, named, uploaded, brought home.

Belongs here: what a run and upkeep both do with a picture. Does not belong here: which picture, and
when (`making`, `upkeep`).
"""
