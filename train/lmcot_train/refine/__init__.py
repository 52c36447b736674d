"""`lmcot train refine`, from the rows and the policy to the run folder."""
