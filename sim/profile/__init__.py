"""Devices, models and service-time tables, found by name."""
