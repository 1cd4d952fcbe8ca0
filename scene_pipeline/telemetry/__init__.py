"""Logs, traces and metrics: what the program tells its operators while it works.

Belongs here: their form, where they go, and the facts that stand on every line. Does not belong
here: what happened to whom (`pipeline_events` is the feed for people and programs), Dagster's own
log.
"""
