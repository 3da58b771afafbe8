"""The commands of `nimmerverse`, one module per group; what they are called with is in deploy/usage."""
