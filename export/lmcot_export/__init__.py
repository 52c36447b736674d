"""Write trained models as files that other engines run."""
