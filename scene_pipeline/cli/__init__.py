"""The command line: one console script, `scene-pipeline`.

Belongs here: arguments, live display, tables, exit codes, starting and stopping of servers.
Does not belong here: anything another door would have to write again.

"""
