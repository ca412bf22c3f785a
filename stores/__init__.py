"""One contract for each thing that is stored, SQLite by default."""
