"""The PostgreSQL that comes along: started with the first client, stopped after the last one.

Belongs here: finding the binaries, making the cluster, one supervisor process per data directory
and the file locks by which clients and supervisor know of each other. Does not belong here: SQL,
schema, and any server that is not ours (`database.session`).

How it holds together:

- A client keeps a shared lock on `clients.lock` for as long as it needs the server. The kernel
  gives it up when the process ends, however it ends.
- The supervisor keeps `supervisor.lock` and is the parent of PostgreSQL. When it can take
  `clients.lock` exclusively for a second, nobody is left: it keeps that lock, so that a newcomer
  waits, shuts PostgreSQL down and ends.
- When the supervisor itself is killed, the kernel interrupts PostgreSQL, which shuts down cleanly.
"""

from scene_pipeline.database.embedded.client import EmbeddedServer, attach, is_running
from scene_pipeline.database.embedded.layout import DATABASES, SYSTEM_STATE, Layout

__all__ = ["DATABASES", "SYSTEM_STATE", "EmbeddedServer", "Layout", "attach", "is_running"]
