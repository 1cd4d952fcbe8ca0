"""What is to be done about scenes: seen, decided, priced and written down, without paying.

Belongs here: that, and the plain values it is told in. Does not belong here: sending anything to a
provider (`making`), and when a run is launched (`due`).
"""
