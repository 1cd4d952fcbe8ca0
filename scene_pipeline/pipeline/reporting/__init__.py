"""What people look at and other programs take: contact sheets, pages, lists of frames, reports.

Belongs here: gathering it, laying it out and storing it. Does not belong here: drawing (`media`),
where it is shown (`defs`, `cli`).
"""
