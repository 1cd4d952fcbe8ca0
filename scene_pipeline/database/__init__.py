"""PostgreSQL: connections, migrations and repositories; SQL in, typed rows out.

Belongs here: every SQL statement of the application, and the embedded server.
Does not belong here: decisions about what to do with a row.

"""
