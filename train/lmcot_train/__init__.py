"""Train the models of LM-guided chain-of-thought."""
