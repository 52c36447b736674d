"""What enforces a constraint while a local model writes: a mask over the tokens that may come next."""
