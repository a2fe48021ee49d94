"""Service times of real models on this machine, block by block, with what disturbed them."""
