"""Answer metrics by the official rules, intervals and paired tests."""
