"""Readers of other tools' measurements, one module a format; `reading` chooses among them."""
