"""Augmentation, networks and settings that the self-supervised methods share."""
