"""How a command is wrapped so that exact output and exit code come back."""
