"""Run the command line as `python -m lmcot_cli`."""

from lmcot_cli.main import main

main()
