"""Quantiles, intervals, warm-up and the saturation verdict."""
