"""Settings: what they are, declared once, and the files that set them."""
