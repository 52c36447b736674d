"""The prompts of every method and stage, as Jinja2 templates that a folder of one's own can override."""
