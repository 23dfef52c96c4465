"""Processes that run user code, and the pool that hands them work and ends them."""
