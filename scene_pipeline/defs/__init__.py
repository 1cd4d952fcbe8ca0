"""Dagster: assets, sensors, jobs, partitions, resources, config and metadata.

Belongs here: everything that imports dagster. Does not belong here: any decision about scenes,
money or storage; those are use cases in `pipeline`, called from here.

"""
