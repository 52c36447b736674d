"""Settings files as files: which one is used, whose it is, what it reaches, and whether the user has confirmed it."""
