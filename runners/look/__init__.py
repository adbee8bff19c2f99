"""Looking before running: lists, plans, a dry run."""
