"""A soak: an organism of its own under load while a seeded schedule of faults strikes, judged at the end."""
