"""The database engine, transactions and migrations."""
