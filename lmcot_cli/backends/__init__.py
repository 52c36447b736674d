"""Everything that can run a model, behind one class (`lmcot_cli.backends.base.Backend`)."""
