"""Run commands in Amazon ECS containers, with exact output and exit codes."""
