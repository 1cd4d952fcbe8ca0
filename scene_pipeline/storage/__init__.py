"""Object stores: opaque key in, URL out.

Belongs here: one file per store and the Protocol they share.
Does not belong here: which key a frame gets (`scenes.identity`) and what is recorded about it.

"""
