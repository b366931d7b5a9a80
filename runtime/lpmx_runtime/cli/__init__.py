"""The command line: a module per subcommand, imported only when it is called."""
