"""What every SQL database's tables have in common as a peer: mapping, canonical encoding, planning. Pure.

A database of its own kind (`sql_table`: SQLite, `sql_postgres`, `sql_mysql`) adds how it is read, captured and written.
"""
