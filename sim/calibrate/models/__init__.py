"""DLRMs with table, DHE, select and hybrid embeddings and their MP-Cache; importing these modules needs PyTorch."""
