"""Use cases: what happens to projects and scenes, in which order, and what is committed before what.

Rooms, from the door down: `due` (what is to be launched by itself), `inbox`, `alerts`, `upkeep`,
`making` (the stream that pays), `planning` (what is to be done), `projects` (documents and people's
choices). Plain values that all share stand beside them: orders, facts, services.

Does not belong here: dagster, HTTP routes, SQL text (`database`), pixels (`media`).
"""
