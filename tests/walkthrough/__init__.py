"""AWS's own walkthrough of ECS Exec, and its lessons, on the practice cluster."""
