"""A trained model, opened: its weights, and what belongs to them."""
