"""Everything that can run a model, behind one Protocol (`lmcot_cli.backends.base.Backend`)."""
