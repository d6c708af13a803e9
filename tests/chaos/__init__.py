"""The whole portal under fire: real processes, a tormentor, and a verdict by the vendors' own logs."""
