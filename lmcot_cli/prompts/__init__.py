"""The prompts of every method and stage, as Jinja2 templates that a folder of the user's can override."""
