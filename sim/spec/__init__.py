"""YAML to validated, frozen objects; units; errors with file, line and column."""
