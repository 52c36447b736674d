"""Settings: each declared once, and the files that set them: whose they are, what they reach, who confirmed them."""
