"""The commands of `nimmerverse`, one module per group; the parser is in deploy/cli.py."""
