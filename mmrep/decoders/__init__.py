"""Decoders: tokens back to the data."""
