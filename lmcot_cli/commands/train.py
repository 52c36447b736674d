"""`lmcot train`: commands that need the `train` extra, which they import when they run."""

from __future__ import annotations

from lmcot_cli.commands import train_all, train_distill, train_rationales, train_refine, train_rewards
from lmcot_cli.commands.app import App

app = App(no_args_is_help=True, help="Train the models of LM-guided chain-of-thought.")
app.command("rationales", epilog=train_rationales.EPILOG)(train_rationales.rationales)
app.command("distill", epilog=train_distill.EPILOG)(train_distill.distill)
app.command("refine", epilog=train_refine.EPILOG)(train_refine.refine)
app.command("score", epilog=train_rewards.SCORE_EPILOG)(train_rewards.score)
app.command("fit-aspects", epilog=train_rewards.FIT_EPILOG)(train_rewards.fit_aspects)
app.command("all", epilog=train_all.EPILOG)(train_all.train_all)
