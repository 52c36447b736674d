"""Settings: how each is declared, and the files that set them: whose they are, what they do, who confirmed them."""
