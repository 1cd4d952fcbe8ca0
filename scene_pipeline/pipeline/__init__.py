"""Use cases: what happens to projects and scenes, in which order, and what is committed when.

Rooms, from the doors down: `due` (what is launched by itself), `inbox`, `alerts`, `upkeep`,
`making` (the stream that pays), `planning` (what is to be done), `projects` (documents and what
people chose), `keeping` (one picture from its provider to our store). Imports point down this list.
Plain values and parts that all share stand beside them: orders, facts, services.

Does not belong here: dagster, HTTP routes, SQL text (`database`), pixels (`media`).
"""
