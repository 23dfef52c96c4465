"""HTTP: the only part of the controller that knows it."""
