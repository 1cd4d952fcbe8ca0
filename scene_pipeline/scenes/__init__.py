"""The pure core: master JSON, prompts, identity, hashes and planning.

Belongs here: functions of plain values. Imports only the standard library, pydantic, pandas and
jsonschema. Does not belong here: input and output of any kind.

"""
