"""What an agent remembers: the port, and the SQLite backend behind it."""
