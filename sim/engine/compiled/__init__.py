"""The compiled engine: the same model as the reference engine, as numba loops over tables of numbers."""
