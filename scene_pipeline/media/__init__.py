"""Fetching, validating and deriving pictures.

Belongs here: bytes in, checked bytes out. Does not belong here: database, storage, providers.

"""
