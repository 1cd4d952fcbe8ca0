"""Pictures that documents name for models to go by: found, checked, and brought to a provider.

Belongs here: from a name in a document to bytes whose digest is known, and to an address that a
provider can fetch. Does not belong here: when they are settled with a request (`pipeline.making`).
"""
