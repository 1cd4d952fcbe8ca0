"""What needs a person, told once: its words, its way out, its bookkeeping.

Belongs here: that, and the plain values it is told in. Does not belong here: noticing: rows are
written in the transaction of what they tell of (`database`).
"""
