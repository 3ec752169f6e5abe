"""Data: sources, transforms, tokenizers and the input pipeline; knows nothing of models."""
