"""The trainer: worker processes that train what the log decided to train, vote on what they have, and may die of it."""
