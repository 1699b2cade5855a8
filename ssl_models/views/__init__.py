"""Masks and augmentations, each a function of (seed, epoch, sample)."""
