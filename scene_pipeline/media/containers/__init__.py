"""Picture files as containers: where they end, what they carry beside pixels, and our own block.

Belongs here: walking PNG chunks, JPEG segments and WebP chunks without decoding a pixel. Does not
belong here: decoding (`media.inspection`) and what our block says (`media.metadata`). Standard
library only: a sandboxed worker imports it.
"""
