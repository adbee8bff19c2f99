"""The verbs: train, sample, evaluate, describe. Only this room sees all the others."""
