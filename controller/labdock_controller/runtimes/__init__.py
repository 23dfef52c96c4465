"""Where environments run. `base` is the contract; each sibling is one runtime and knows no other."""
