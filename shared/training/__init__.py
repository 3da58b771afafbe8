"""What the nerve that decides about training jobs and the organ that carries them out both know."""
