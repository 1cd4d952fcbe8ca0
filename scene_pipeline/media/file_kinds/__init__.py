"""How each kind of file is recognised by its content, and where it should end.

Belongs here: one module per family, each reading a few places of a file. Does not belong here:
which kinds are taken (`media.file_types`), in which order they are tried (`media.recognition`), and
decoding.
"""
