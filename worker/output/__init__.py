"""What a job says and prints: from its files to the tables, and the files it names to the store."""
