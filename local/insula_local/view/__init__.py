"""What the user sees of the stack: `plain` lines, or `live` on a terminal, which is written to without waiting."""
