"""One file for each verb of the command line. Only light imports at the top: ``rollgym --help`` must be quick."""
