"""The command line: its flags, and what they ask for."""
