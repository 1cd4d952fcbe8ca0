"""A random walk of one film through everything that can happen to it.

Belongs here: the steps, and what is compared after each. Does not belong here: what should come of
them (`scene_model`), how far a test walks (`integration/test_state_machine`).
"""
