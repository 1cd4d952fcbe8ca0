"""The HTTP door.

Belongs here: routes and their headers. Does not belong here: use cases, which live in `pipeline`.

"""
