"""The commands' names, arguments and help, by what they are about.

Belongs here: what `--help` shows. Does not belong here: work; each command imports what does it
when it is called, so that `--help` answers at once.
"""
