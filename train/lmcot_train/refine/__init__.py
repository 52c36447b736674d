"""`lmcot train refine`: what PPO and GRPO share, from the rows and the policy to the folder that is left."""
