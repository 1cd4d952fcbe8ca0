"""Use cases: plan, generate, rehost, publish and the stream that joins them; one file each.

Belongs here: what happens to a scene, in which order, and what is committed before what.
Does not belong here: dagster, HTTP routes, SQL text (`database`), pixels (`media`).

"""
