"""One file a command: parse the options, call the pipeline, print."""
