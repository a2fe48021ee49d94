"""Profiles from real hardware runs; the only package that may import torch."""
