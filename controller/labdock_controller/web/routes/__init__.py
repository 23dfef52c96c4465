"""The routes, one file for each noun. Each names its capability with `needs`."""
