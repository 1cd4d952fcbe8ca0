"""The library: what people keep besides generated frames, and everything that it shows.

Belongs here: ways in (a file, an address, an upload), search, tags, deletion, derivatives. Does not
belong here: recognising files (`media`), SQL (`database`), pictures that a request is sent with
(`pipeline.references`).
"""
