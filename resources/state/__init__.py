"""The state directory: its format, the lock that drivers hold, and processes that end with their driver."""
