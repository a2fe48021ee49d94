"""The ``mprec`` command: one module per subcommand."""
